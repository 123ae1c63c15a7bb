"""Learners who ask a scheduler for stories, on a clock that only decoding moves: waiting times without noise.

`python -m tests.engine.learners` prints them. A step costs a fixed time, more for each row and prompt token.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from engine.backends.base import Ints, Logits
from engine.jobs import Drawn, Finished, Job, JobEvent, Narrowed, RowPlan, RowSettings, Started
from engine.scheduler import Scheduler

PROMPT_TOKENS = 25
FIRST_SENTENCE = 20
SURE = RowSettings(temperature=0.0)
END = 1


class Clock:
    """The time as everybody sees it within `running`."""

    def __init__(self) -> None:
        self.now = 1000.0

    @contextmanager
    def running(self) -> Iterator[Clock]:
        """Put this clock in the place of the machine's."""
        real, time.monotonic = time.monotonic, lambda: self.now
        try:
            yield self
        finally:
            time.monotonic = real


@dataclass(frozen=True)
class Costs:
    """Milliseconds of a step; the default is about a model of 6 M parameters on two cores."""

    step: float = 1.0
    row: float = 0.2
    prompt_token: float = 0.1


COSTS = Costs()


class TimedBackend:
    """Writes rows of 70 to 130 tokens, drawn by lot; a step moves the clock."""

    vocab_size, context = 4, 512

    def __init__(self, clock: Clock, costs: Costs, seed: int) -> None:
        self._clock, self._costs = clock, costs
        self._random = random.Random(seed)
        self._ends: dict[int, int] = {}
        self.tokens = 0

    def step(self, tokens: Ints, slots: Ints, positions: Ints, rows: Ints) -> Logits:
        prompt = len(tokens) - len(rows) + int((positions[rows] == PROMPT_TOKENS - 1).sum())
        self._clock.now += self._costs.prompt_token * prompt / 1000
        if not prompt:
            self._clock.now += (self._costs.step + self._costs.row * len(rows)) / 1000
        self.tokens += len(rows)
        logits = np.zeros((len(rows), self.vocab_size), dtype=np.float32)
        for place, row in enumerate(rows):
            slot, position = int(slots[row]), int(positions[row])
            if position < PROMPT_TOKENS:
                self._ends[slot] = self._end()
            logits[place, END if position >= self._ends[slot] else 2] = 9.0
        return logits

    def copy(self, source: int, targets: Sequence[int], length: int) -> None:
        for target in targets:
            self._ends[target] = self._end() if length == PROMPT_TOKENS else self._ends[source]

    def _end(self) -> int:
        return PROMPT_TOKENS + self._random.randint(70, 130)


@dataclass
class Learner:
    """Someone who asks once, and what they saw when (seconds after asking)."""

    clock: Clock
    asks_at: float
    rows: int | None = None
    n: int = 0
    shown: int = 0
    first: float = 0.0
    whole: float = 0.0
    events: list[JobEvent] = field(default_factory=list)

    def __call__(self, event: JobEvent) -> None:
        since = self.clock.now - self.asks_at
        match event:
            case Started(rows) | Narrowed(rows):
                self.n = rows
            case Drawn():
                self.shown += 1
                if self.shown == FIRST_SENTENCE:
                    self.first = since
            case Finished():
                self.whole = since
                self.first = self.first or since


def simulate(
    learners: int, over: float, *, costs: Costs = COSTS, max_rows: int = 48, seed: int = 0
) -> list[Learner]:
    """Let so many learners ask, spread evenly over so many seconds; return them when all have their story."""
    with Clock().running() as clock:
        backend = TimedBackend(clock, costs, seed)
        scheduler = Scheduler(max_rows=max_rows, max_waiting=1000)
        _warm_up(scheduler, backend, clock)
        start = clock.now
        people = [Learner(clock, start + over * number / learners) for number in range(learners)]
        coming = list(people)
        while not all(person.whole for person in people):
            while coming and coming[0].asks_at <= clock.now:
                scheduler.submit(_job(backend, coming.pop(0)))
            if not scheduler.run_once():
                clock.now = max(clock.now, coming[0].asks_at) if coming else clock.now
        return people


def _warm_up(scheduler: Scheduler, backend: TimedBackend, clock: Clock) -> None:
    for rows in (1, 8):
        someone = Learner(clock, clock.now, rows)
        scheduler.submit(_job(backend, someone))
        while not someone.whole:
            scheduler.run_once()


def _job(backend: TimedBackend, learner: Learner) -> Job:
    return Job(
        backend=backend,
        prompt=[2] * PROMPT_TOKENS,
        plan=lambda index: RowPlan(SURE, 0, index),
        sink=learner,
        end_ids=frozenset({END}),
        max_new_tokens=200,
        deadline=learner.clock.now + 60,
        rows=learner.rows,
        person=f"{id(learner)}",
    )


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that so much of `values` lies at or below."""
    return sorted(values)[max(0, round(share * len(values)) - 1)]


def main() -> None:
    """Print waiting times in milliseconds."""
    print("learners  over s  rows p50 first p50  p95  story p50  p95   n mean  first n   all done")
    for over in (0.0, 1.0):
        for learners in (1, 2, 4, 8, 16, 32, 64):
            people = simulate(learners, over)
            first, whole = [p.first * 1000 for p in people], [p.whole * 1000 for p in people]
            print(
                f"{learners:8} {over:7} {statistics.median(first):14.0f} {percentile(first, 0.95):9.0f}"
                f" {statistics.median(whole):8.0f} {percentile(whole, 0.95):7.0f}"
                f" {statistics.mean(p.n for p in people):7.1f} {people[0].n:6}"
                f" {max(p.asks_at + p.whole for p in people) - people[0].asks_at:8.2f} s"
            )


if __name__ == "__main__":
    main()
