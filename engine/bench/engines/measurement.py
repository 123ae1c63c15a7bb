"""One whole measurement: the race, the machine's limits, a served engine; all figures in one report.

Knows what is measured in which order; nothing of options or of how the report is shown.
"""

from __future__ import annotations

import asyncio
import datetime
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.bench.coverage import make_requests
from engine.bench.engines import machine, rows
from engine.bench.engines.base import Setup, Task, configured
from engine.bench.engines.child import alone
from engine.bench.engines.limits import Limits, Shape
from engine.bench.engines.limits import measure as measure_limits
from engine.bench.engines.race import OURS, Course, Outcome, Race
from engine.bench.engines.served import Served, serve_once
from engine.prompts import Codec, family_for
from engine.registry import ModelCard
from engine.schema import Decoding, Length, StoryRequest

SEED = 5
# Requests beyond those needed, as some may be refused.
SPARE = 8
SERVED_AT_ONCE = 32


@dataclass(frozen=True)
class Plan:
    """What to measure: a model, on what, which engines, how much; `quick` takes short stories only."""

    card: ModelCard
    device: str
    threads: int
    names: Sequence[str]
    course: Course
    quick: bool

    @property
    def decoding(self) -> Decoding:
        """The settings that every engine draws with, as far as it knows them."""
        return family_for(self.card.family).decoding

    @property
    def environment(self) -> dict[str, str]:
        """What a served engine needs to be the one measured."""
        settings = {"DEFAULT_MODEL": self.card.name, "DEVICE": self.device, "THREADS": str(self.threads)}
        return {f"WORDTALE_ENGINE_{name}": value for name, value in settings.items()}


def stories(plan: Plan) -> list[Task]:
    """Return the stories to write: 1 to 4 words, one draft and a seed each; the same for every run."""
    family, codec = family_for(plan.card.family), Codec.from_directory(plan.card.directory)
    made = []
    for number, request in enumerate(make_requests(plan.course.tasks + SPARE, SEED)):
        given: dict[str, Any] = {"model": plan.card.name, "n_candidates": 1, "person": f"learner-{number}"}
        if plan.quick:
            given["length"] = Length.SHORT
        asked = request.model_copy(update=given)
        made.append(Task(asked, tuple(family.encode(codec, asked))))
    return made


def measure(plan: Plan, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure everything and return the report. Raises RuntimeError or TimeoutError when ours fails."""
    facts = machine.facts(plan.threads, plan.device)
    tasks = stories(plan)
    with tempfile.TemporaryDirectory(prefix="wordtale-bench-") as scratch:
        setup = Setup(
            plan.card.name, plan.card.directory, plan.device, plan.threads, plan.decoding, Path(scratch)
        )
        shape = Shape.of(configured(setup), plan.card.parameters)
        outcome, limits = _raced(setup, plan, tasks, shape, say)
    served = []
    for _ in range(1 if plan.quick else plan.course.rounds):
        say("a real engine process: start, stories, memory")
        asked = [_learners(task.request) for task in tasks[:SERVED_AT_ONCE]]
        served.append(asyncio.run(serve_once(plan.environment, asked)))
    table = rows.table(outcome, shape, limits)
    return _report(plan, outcome, limits, served, table) | {"machine": facts}


def _raced(
    setup: Setup, plan: Plan, tasks: Sequence[Task], shape: Shape, say: Callable[[str], None]
) -> tuple[Outcome, Limits]:
    limits: Limits | None = None
    race = Race(setup, plan.names, plan.course, say)
    try:
        race.start(tasks)
        sizes = {rows.megabytes(shape, about.weight_bytes) for about in race.outcome.about.values()}
        for number in range(plan.course.rounds):
            race.round(number)
            with alone() as pool:
                asked = pool.submit(measure_limits, plan.device, plan.threads, sorted(sizes))
                limits = asked.result() if limits is None else limits.best(asked.result())
    finally:
        race.close()
    assert limits is not None
    return race.outcome, limits


def _learners(request: StoryRequest) -> StoryRequest:
    """Return a request as a learner's: the engine chooses the number of drafts and the seed."""
    return request.model_copy(update={"n_candidates": None, "seed": None})


def _report(
    plan: Plan, outcome: Outcome, limits: Limits, served: Sequence[Served], table: list[rows.Row]
) -> dict[str, Any]:
    found = rows.figures(table, served)
    return {
        **found,
        "targets": rows.targets(found, table),
        "rows": table,
        "missing": outcome.missing,
        "limits": asdict(limits),
        "served": [asdict(one) for one in served],
        "run": {
            "model": plan.card.name,
            "version": plan.card.version,
            "parameters": plan.card.parameters,
            "backend": outcome.about[OURS].backend,
            "decoding": plan.decoding.model_dump(exclude_none=True),
            "rounds": plan.course.rounds,
            "quick": plan.quick,
            "when": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        },
    }
