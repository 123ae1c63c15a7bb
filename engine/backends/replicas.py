"""Copies of one small backend, each with a thread of its own, that step side by side.

A step of a small model is too short to be shared by threads: two halves of the rows on one thread each take
less than all rows on two, and while one half computes the tokens of the other are drawn. Knows nothing of
models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from engine.backends.base import Ints, Logits, StepBackend

T = TypeVar("T")


class Replica:
    """A `StepBackend` and the one thread that steps it."""

    def __init__(self, backend: StepBackend) -> None:
        self.vocab_size, self.context = backend.vocab_size, backend.context
        self.step, self.copy = backend.step, backend.copy
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="step")

    def submit(self, compute: Callable[[], T]) -> Future[T]:
        """Have the thread compute something; nothing else may use the backend until that is done."""
        return self._worker.submit(compute)


class Replicas:
    """Equal `members` for the rows of one model; used directly it is its first member."""

    def __init__(self, backends: Sequence[StepBackend]) -> None:
        self.first = backends[0]
        self.members = tuple(map(Replica, backends))
        self.vocab_size, self.context = self.first.vocab_size, self.first.context

    def step(self, tokens: Ints, slots: Ints, positions: Ints, rows: Ints) -> Logits:
        """Step the first member; see `StepBackend.step`."""
        return self.first.step(tokens, slots, positions, rows)

    def copy(self, source: int, targets: Sequence[int], length: int) -> None:
        """Copy within the first member; see `StepBackend.copy`."""
        self.first.copy(source, targets, length)
