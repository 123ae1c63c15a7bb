"""What is asked of the decoder and what comes back: jobs, their rows, their events.

A job is one prompt decoded in several rows (drafts). Knows nothing of models, words or HTTP; numpy only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from engine.errors import EngineError
from engine.schema import Decoding

if TYPE_CHECKING:
    from engine.backends.base import StepBackend, WholeBackend


# Drafts of a job that has the machine to itself: readers' sense still rises from 8 to 32 (docs/reranking.md).
IDLE_ROWS = 32


@dataclass(frozen=True)
class Dense:
    """What to add to the logits of ids 0, 1, …, but for `spared` ones (unique); rows may share the values."""

    values: npt.NDArray[np.float32]
    spared: npt.NDArray[np.int64]

    def whole(self) -> npt.NDArray[np.float32]:
        """Return what is added to each id in the end."""
        found = self.values.copy()
        found[self.spared] = 0
        return found


@dataclass(frozen=True)
class Bias:
    """What to add to the logits of some tokens. Ids are unique; a value may be -inf.

    `dense`, if any, is added on top.
    """

    ids: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]
    dense: Dense | None = None


class Guide(Protocol):
    """Steers one row: says before each step what to favour, and is told what was drawn."""

    def bias(self) -> Bias | None:
        """Return what to add to the row's next logits."""
        ...

    def observe(self, token: int) -> bool:
        """Take note of the token drawn; true ends the row."""
        ...

    def fork(self) -> Guide:
        """Return an independent copy, for a row that splits in two (beams)."""
        ...


@dataclass(frozen=True)
class RowSettings:
    """Complete decoding settings of one row; temperature 0 is greedy."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2

    @classmethod
    def of(cls, decoding: Decoding) -> RowSettings:
        """Take the row's settings out of a request's; None means off."""
        given = decoding.model_dump(include=set(cls.__dataclass_fields__), exclude_none=True)
        return cls(**given)


@dataclass(frozen=True)
class TokenMarks:
    """Ids that matter to the loop breaker: those that end a run, and those that are never made dearer."""

    breakers: frozenset[int] = frozenset()
    free: frozenset[int] = frozenset()


@dataclass(frozen=True)
class RowPlan:
    """One row to decode. `stream` sets the row's random numbers apart from those of its siblings.

    `context` are the ids that the repetition settings count besides the generated ones.
    """

    settings: RowSettings
    seed: int
    stream: int
    guide: Guide | None = None
    context: Sequence[int] = ()
    marks: TokenMarks = TokenMarks()


class End(StrEnum):
    """Why a row ended."""

    TOKEN = "token"  # noqa: S105 - not a password
    GUIDE = "guide"
    LENGTH = "length"
    BROKEN = "broken"


@dataclass
class RowResult:
    """One decoded row. `logprob` is the sum over tokens under the model alone, without bias or settings."""

    index: int
    tokens: list[int] = field(default_factory=list)
    end: End = End.LENGTH
    logprob: float = 0.0
    first_token_at: float = 0.0


@dataclass(frozen=True)
class Queued:
    """The job waits behind `position` others."""

    position: int


@dataclass(frozen=True)
class Started:
    """Decoding began with so many rows."""

    rows: int


@dataclass(frozen=True)
class Narrowed:
    """Others wait: only the first `rows` rows go on. A single one is streamed from its first token."""

    rows: int


@dataclass(frozen=True)
class Drawn:
    """A token of the single row of a streaming job."""

    token: int


@dataclass(frozen=True)
class Finished:
    """All rows have ended; in order of index, broken ones left out."""

    rows: list[RowResult]


@dataclass(frozen=True)
class Failed:
    """The job ended without a result."""

    error: EngineError


JobEvent = Queued | Started | Narrowed | Drawn | Finished | Failed


@dataclass(eq=False)
class Job:
    """One prompt to decode. `sink` is called from the decoding thread and must return at once.

    `rows` None leaves the number to the load (1 … `IDLE_ROWS`), while the job runs too. `deadline` is on the
    monotonic clock. `plan(i)` makes row i, in the decoding thread. `person` and `group` take turns.
    """

    backend: StepBackend | WholeBackend
    prompt: Sequence[int]
    plan: Callable[[int], RowPlan]
    sink: Callable[[JobEvent], None]
    end_ids: frozenset[int]
    max_new_tokens: int
    deadline: float
    rows: int | None = None
    person: str | None = None
    group: str | None = None
    num_beams: int = 1
    cancelled: bool = False
