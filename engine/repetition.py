"""What a row has said before: n-grams that may not come again, and loops that get dearer the longer they run.

The loop breaker is DRY ("don't repeat yourself"), by p-e-w: github.com/oobabooga/text-generation-webui
pull request 5677, also in llama.cpp. Knows token ids; nothing of logits' other settings, words or models.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from engine.jobs import Bias, RowPlan

Ints = npt.NDArray[np.int64]

# A loop of any length costs at most so many nats.
MAX_PENALTY = 60.0
LONGEST = 64


class NGrams:
    """The ids that would make an n-gram of `size` tokens come twice."""

    def __init__(self, size: int, context: Sequence[int]) -> None:
        self._size = size
        self._history = list(context)
        self._followers: dict[tuple[int, ...], list[int]] = {}
        for end in range(1, len(self._history) + 1):
            self._note(end)

    def banned(self) -> Ints | None:
        """Return the ids that may not come next, each once, or None."""
        start = len(self._history) - (self._size - 1)
        found = self._followers.get(tuple(self._history[start:])) if start >= 0 else None
        return np.unique(np.array(found, dtype=np.int64)) if found else None

    def push(self, token: int) -> None:
        """Take note of the token drawn."""
        self._history.append(token)
        self._note(len(self._history))

    def _note(self, end: int) -> None:
        if end >= self._size:
            *before, last = self._history[end - self._size : end]
            self._followers.setdefault(tuple(before), []).append(last)


class Loops:
    """DRY: a token that would go on with a run of tokens said before costs multiplier · base^(run - allowed).

    A run does not reach over a breaker. What only ends a word or a sentence is never made dearer: half a word
    said before must be finished. `context` and marks come with the row's plan.
    """

    def __init__(self, plan: RowPlan) -> None:
        settings = plan.settings
        self._multiplier = settings.dry_multiplier
        self._base = settings.dry_base
        self._allowed = settings.dry_allowed_length
        self._marks = plan.marks
        self._history: list[int] = []
        self._places: dict[int, list[int]] = {}
        # How many tokens up to a place are the same as those up to the end, where any are.
        self._runs: dict[int, int] = {}
        for token in plan.context:
            self.push(token)

    def push(self, token: int) -> None:
        """Take note of the token drawn."""
        places = self._places.setdefault(token, [])
        before = self._runs
        if token in self._marks.breakers:
            self._runs = {}
        else:
            self._runs = {place: before.get(place - 1, 0) + 1 for place in places}
        places.append(len(self._history))
        self._history.append(token)

    def bias(self) -> Bias | None:
        """Return what the tokens that would go on with a run cost, or None."""
        cost: dict[int, float] = {}
        for place, run in self._runs.items():
            token = self._history[place + 1]
            if run < self._allowed or token in self._marks.free or token in self._marks.breakers:
                continue
            more = self._multiplier * self._base ** min(run - self._allowed, LONGEST)
            cost[token] = max(cost.get(token, 0.0), min(MAX_PENALTY, more))
        if not cost:
            return None
        size = len(cost)
        return Bias(np.fromiter(cost, np.int64, size), -np.fromiter(cost.values(), np.float32, size))
