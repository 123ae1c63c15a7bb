"""The measurement itself: every engine at every number of requests, in turn, round after round.

Rounds are interleaved (A B C, A B C, …), as the speed of a machine changes while one measures. Knows
engines and waves; nothing of tables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from engine.bench.engines.base import About, NotInstalled, Setup, Task, Wave
from engine.bench.engines.child import Child, alone
from engine.bench.engines.ctranslate import convert
from engine.schema import StoryRequest

OURS = "ours"
BY_LOAD = "ours, drafts by load"
BEST_OF = "ours, 8 drafts"
SEQUENTIAL = "transformers, one at a time"
BATCHED = "transformers, batched"
CT2_INT8 = "CTranslate2 int8"
CT2_FP32 = "CTranslate2 fp32"

CANDIDATES = 8
WARM_UP_TASKS = 2

# The class below `engine.bench.engines` and its method that writes. Engines of one class share a process.
KINDS: dict[str, tuple[str, str]] = {
    OURS: ("ours:Ours", "write"),
    BY_LOAD: ("ours:Ours", "write"),
    BEST_OF: ("ours:Ours", "write"),
    SEQUENTIAL: ("transformers_generate:Generate", "in_turn"),
    BATCHED: ("transformers_generate:Generate", "batched"),
    CT2_INT8: ("ctranslate:Int8", "write"),
    CT2_FP32: ("ctranslate:Float32", "write"),
}
SHORT_NAMES: dict[str, tuple[str, ...]] = {
    "ours": (OURS, BY_LOAD, BEST_OF),
    "sequential": (SEQUENTIAL,),
    "batched": (BATCHED,),
    "ct2-int8": (CT2_INT8,),
    "ct2-fp32": (CT2_FP32,),
}


@dataclass(frozen=True)
class Course:
    """How much is measured. A cell is an engine at a number of requests."""

    counts: tuple[int, ...]
    rounds: int
    least_stories: int
    """Stories of a cell: waves are repeated until there are so many."""
    sequential_seconds: float
    """Stories written one after another are cut off after so long."""

    def waves(self, count: int, tasks: Sequence[Task]) -> list[Sequence[Task]]:
        """Return the waves of a cell: `count` stories each, the same in every round."""
        number = min(max(1, self.least_stories // count), len(tasks) // count)
        return [tasks[wave * count : (wave + 1) * count] for wave in range(number)]

    @property
    def tasks(self) -> int:
        """Stories that the largest cell takes."""
        return max(max(count, self.least_stories) for count in self.counts)


@dataclass
class Outcome:
    """What came of the race. `missing` says of each engine that isn't there why."""

    waves: dict[tuple[str, int], list[list[Wave]]] = field(default_factory=dict)
    """By engine and number of requests: rounds of waves."""
    about: dict[str, About] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    tasks: list[Task] = field(default_factory=list)


# What another engine may raise over a model that it can't run.
REFUSALS = (NotInstalled, OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError)


class Race:
    """Engines in their processes and what they did so far. Close it to end the processes."""

    def __init__(
        self, setup: Setup, names: Sequence[str], course: Course, say: Callable[[str], None]
    ) -> None:
        self.outcome = Outcome()
        self._setup, self._course, self._say = setup, course, say
        self._names = list(names)
        self._children: dict[str, Child] = {}

    def start(self, stories: Sequence[Task]) -> None:
        """Load the model everywhere, find each story's number of tokens, warm up.

        Stories that ours can't write are left out. Raises RuntimeError when there is none left.
        """
        self._say("loading the model into every engine")
        self._load()
        wave = self._children[KINDS[OURS][0]].write(KINDS[OURS][1], stories, 0)
        told = zip(stories, wave.written, strict=True)
        tasks = [replace(task, tokens=one.tokens) for task, one in told if not one.failed]
        if not tasks:
            raise RuntimeError(f"none of the stories could be written: {wave.written[0].failed}")
        self.outcome.tasks = tasks[: self._course.tasks]
        for name in [*self._names]:
            self._ask(name, self.outcome.tasks[:WARM_UP_TASKS])

    def round(self, number: int) -> None:
        """Let every engine do every number of requests once."""
        for count in self._course.counts:
            waves = self._course.waves(count, self.outcome.tasks)
            for name in [*self._names]:
                self._say(f"round {number + 1} of {self._course.rounds}: {count} requests, {name}")
                if name == BEST_OF and count > 1:
                    continue
                done = [self._ask(name, wave) for wave in waves]
                whole = [wave for wave in done if wave is not None]
                if len(whole) == len(waves):
                    self.outcome.waves.setdefault((name, count), []).append(whole)

    def close(self) -> None:
        """End all processes."""
        for child in self._children.values():
            child.close()

    def _load(self) -> None:
        converted = [name for name in self._names if KINDS[name][0].startswith("ctranslate:")]
        self._begin([name for name in self._names if name not in converted])
        if converted:
            self._convert(converted)
        self._begin(self._names)
        for name in [*self._names]:
            try:
                self.outcome.about[name] = self._children[KINDS[name][0]].about()
            except REFUSALS as error:
                self._lose(name, error)

    def _begin(self, names: Sequence[str]) -> None:
        for kind in {KINDS[name][0] for name in names} - set(self._children):
            self._children[kind] = Child(kind, self._setup)

    def _convert(self, names: Sequence[str]) -> None:
        with alone() as pool:
            try:
                pool.submit(convert, self._setup.directory, self._setup.scratch).result()
            except REFUSALS as error:
                for name in names:
                    self._lose(name, error)

    def _ask(self, name: str, tasks: Sequence[Task]) -> Wave | None:
        """Return what an engine wrote, None when it is lost."""
        if name not in self._names:
            return None
        asked = [replace(task, request=_asked(name, task.request)) for task in tasks]
        kind, way = KINDS[name]
        try:
            return self._children[kind].write(way, asked, self._course.sequential_seconds)
        except REFUSALS as error:
            self._lose(name, error)
            return None

    def _lose(self, name: str, error: BaseException) -> None:
        """Go on without an engine; without ours there is nothing to compare."""
        if KINDS[name][0] == KINDS[OURS][0]:
            raise RuntimeError(f"our own engine failed: {error}") from error
        self.outcome.missing[name] = str(error).strip().split("\n")[0] or type(error).__name__
        self._names.remove(name)


def _asked(name: str, request: StoryRequest) -> StoryRequest:
    """Return a request as its engine is asked: one draft and a seed, or as a learner asks."""
    if name == BY_LOAD:
        return request.model_copy(update={"n_candidates": None, "seed": None})
    if name == BEST_OF:
        return request.model_copy(update={"n_candidates": CANDIDATES})
    return request
