"""What a decoder of tokens must offer to the scheduler.

Two doors. A `StepBackend` computes logits for one token a row and leaves sampling, word keeping and
admission to others; a `WholeBackend` writes a text in one call, for what can't be stepped (beams,
encoder-decoder models). Neither knows prompts, words or people. Numpy only: no backend's library is
needed to import this module.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from engine.jobs import Guide, RowPlan, RowResult

Ints = npt.NDArray[np.int64]
Logits = npt.NDArray[np.float32]


class StepBackend(Protocol):
    """A causal model with a cache of keys and values, one slot a row.

    Slots are numbers from 0; the caller keeps them dense and steps all running slots together: what a slot
    that is left out holds is lost. What a slot holds is defined by the positions stepped through it from 0
    on; reusing a slot from position 0 forgets what it held. Not thread-safe: one thread steps a backend.
    """

    vocab_size: int
    context: int

    def step(self, tokens: Ints, slots: Ints, positions: Ints, rows: Ints) -> Logits:
        """Compute one step and return a fresh float32 array [len(rows), vocab_size] that the caller owns.

        `tokens[i]` stands at `positions[i]` (0 … context-1) of `slots[i]`; the tokens of a slot are
        adjacent and in order: a whole prompt from position 0, or one token at the next position. `rows`
        are indices into `tokens` for which logits are wanted, in ascending order.
        """
        ...

    def copy(self, source: int, targets: Sequence[int], length: int) -> None:
        """Copy the first `length` positions of slot `source` to each of `targets`."""
        ...


@runtime_checkable
class TellingGuide(Guide, Protocol):
    """The guide of a story: it tells where the row stands, for backends that take no step."""

    @property
    def missing(self) -> list[str]:
        """Words not yet in the text."""
        ...

    @property
    def title_end(self) -> int | None:
        """Token that ends the title being written; None once the text has begun."""
        ...

    @property
    def share(self) -> float:
        """Share of the text's length that is used up, 0 … 1."""
        ...


@dataclass(frozen=True)
class WholeJob:
    """One text in several drafts for a `WholeBackend`."""

    prompt: Sequence[int]
    plans: Sequence[RowPlan]
    max_new_tokens: int
    end_ids: frozenset[int]
    num_beams: int
    stop: Callable[[], bool]


class WholeBackend(Protocol):
    """A model that writes whole texts; it asks `job.stop()` between steps and ends early when true."""

    vocab_size: int
    context: int

    def generate(self, job: WholeJob) -> list[RowResult]:
        """Return one result a draft; with beams there may be fewer drafts than plans."""
        ...
