"""Drawing one token for each row from its logits. Numpy only; knows nothing of models, words or requests.

Rows are drawn together but never touch each other: every sum runs within a row and in an order that does
not depend on the others, and random numbers come from (seed, stream, step) alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.jobs import Bias, RowPlan, RowSettings

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# With top_p alone, tokens this many nats below the best are looked at only if the others don't suffice.
NUCLEUS_NATS = 8.0

# Below these only the best token is left, and the arithmetic would overflow or vanish.
COLDEST = 1e-4
NARROWEST = 1e-9

_NONE: Ints = np.empty(0, dtype=np.int64)


def uniforms(seed: int, stream: int, count: int) -> Doubles:
    """Return numbers in [0, 1) for steps 0 … count-1: the same on every machine and numpy version."""
    raw = np.random.Philox(key=np.array([seed, stream], dtype=np.uint64)).random_raw(count)
    return (np.asarray(raw, dtype=np.uint64) >> np.uint64(11)).astype(np.float64) * 2.0**-53


class RowMemory:
    """What one row needs between steps: its settings, random numbers and what it has written."""

    def __init__(self, plan: RowPlan, max_new_tokens: int) -> None:
        self.settings: RowSettings = plan.settings
        self._uniforms = uniforms(plan.seed, plan.stream, max_new_tokens)
        self._step = 0
        self._seen: dict[int, None] = dict.fromkeys(plan.context)
        self._history = list(plan.context)
        self._followers: dict[tuple[int, ...], list[int]] = {}
        self._size = plan.settings.no_repeat_ngram_size
        for end in range(1, len(self._history) + 1):
            self._note_ngram(end)

    @property
    def uniform(self) -> float:
        """The random number of the coming step."""
        return float(self._uniforms[min(self._step, len(self._uniforms) - 1)])

    @property
    def seen(self) -> Ints:
        """Ids that the repetition penalty counts."""
        return np.fromiter(self._seen, dtype=np.int64, count=len(self._seen))

    def banned(self) -> Sequence[int]:
        """Ids that would repeat an n-gram."""
        if self._size == 0 or len(self._history) < self._size - 1:
            return ()
        start = len(self._history) - (self._size - 1)
        return self._followers.get(tuple(self._history[start:]), ())

    def push(self, token: int) -> None:
        """Take note of the token drawn."""
        self._step += 1
        self._seen[token] = None
        self._history.append(token)
        self._note_ngram(len(self._history))

    def _note_ngram(self, end: int) -> None:
        if self._size and end >= self._size:
            *before, last = self._history[end - self._size : end]
            self._followers.setdefault(tuple(before), []).append(last)


@dataclass(frozen=True)
class Sampled:
    """One token a row; `ok` is false where the logits were no numbers (the token is then 0)."""

    tokens: Ints
    logprobs: Doubles
    ok: Bools


def sample(logits: Floats, rows: Sequence[RowMemory], biases: Sequence[Bias | None]) -> Sampled:
    """Draw a token for every row of `logits` (changed in place)."""
    best = logits.max(axis=1)
    ok = np.isfinite(best)
    if not ok.all():
        logits[~ok] = 0.0
        best[~ok] = 0.0
    log_total = np.log(np.exp(logits - best[:, None]).sum(axis=1, dtype=np.float64)) + best
    raw = _Sparse(logits)
    raw.penalise(rows)
    raw.add(biases)
    raw.ban(rows)
    tokens = logits.argmax(axis=1).astype(np.int64)
    warm = np.flatnonzero([row.settings.temperature >= COLDEST for row in rows] & ok)
    if len(warm):
        tokens[warm] = _draw(logits[warm], [rows[int(i)] for i in warm])
    tokens[~ok] = 0
    logprobs = raw.original(tokens) - log_total
    return Sampled(tokens, logprobs, ok)


class _Sparse:
    """Changes single logits and remembers what they were."""

    def __init__(self, logits: Floats) -> None:
        self._logits = logits
        self._changed: list[tuple[Ints, Ints, Floats]] = []

    def _places(self, ids: Sequence[Ints]) -> tuple[Ints, Ints]:
        index = np.repeat(np.arange(len(ids)), [len(some) for some in ids])
        return index, np.concatenate(ids) if len(index) else np.empty(0, dtype=np.int64)

    def _remember(self, index: Ints, ids: Ints) -> Floats:
        old: Floats = self._logits[index, ids]
        self._changed.append((index, ids, old))
        return old

    def penalise(self, rows: Sequence[RowMemory]) -> None:
        """Apply the repetition penalty to every id a row has seen."""
        penalties = np.array([row.settings.repetition_penalty for row in rows], dtype=np.float32)
        if (penalties == 1.0).all():
            return
        none = np.empty(0, dtype=np.int64)
        index, ids = self._places(
            [row.seen if p != 1 else none for row, p in zip(rows, penalties, strict=True)]
        )
        old = self._remember(index, ids)
        self._logits[index, ids] = np.where(old > 0, old / penalties[index], old * penalties[index])

    def add(self, biases: Sequence[Bias | None]) -> None:
        """Add each row's bias."""
        index, ids = self._places([_NONE if bias is None else bias.ids for bias in biases])
        if len(ids):
            values = np.concatenate([bias.values for bias in biases if bias is not None])
            self._logits[index, ids] = self._remember(index, ids) + values

    def ban(self, rows: Sequence[RowMemory]) -> None:
        """Rule out ids that would repeat an n-gram, unless that would leave a row nothing."""
        for i, row in enumerate(rows):
            banned = np.array(sorted(set(row.banned())), dtype=np.int64)
            if len(banned):
                index = np.full(len(banned), i)
                old = self._remember(index, banned)
                self._logits[i, banned] = -np.inf
                if not np.isfinite(self._logits[i].max()):
                    self._logits[i, banned] = old

    def original(self, tokens: Ints) -> Doubles:
        """Return the logit that each row's token had before any change."""
        values = self._logits[np.arange(len(tokens)), tokens].astype(np.float64)
        for index, ids, old in reversed(self._changed):
            hit = ids == tokens[index]
            values[index[hit]] = old[hit]
        return values


def _draw(logits: Floats, rows: Sequence[RowMemory]) -> Ints:
    """Draw from each row by temperature, min_p, top_k, top_p in this order and one uniform number."""
    settings = [row.settings for row in rows]
    temperature = np.array([s.temperature for s in settings], dtype=np.float32)[:, None]
    scaled = (logits - logits.max(axis=1, keepdims=True)) / temperature
    number = np.array([row.uniform for row in rows])
    plain = np.array([s.top_k == 0 and s.top_p == 1.0 and s.min_p == 0.0 for s in settings])
    tokens = np.zeros(len(rows), dtype=np.int64)
    if plain.any():
        tokens[plain] = _from_all(scaled[plain], number[plain])
    if not plain.all():
        some = np.flatnonzero(~plain)
        tokens[some] = _from_few(scaled[some], number[some], [settings[int(i)] for i in some])
    return tokens


def _from_all(scaled: Floats, number: Doubles) -> Ints:
    total = np.cumsum(np.exp(scaled), axis=1, dtype=np.float64)
    below = total <= (number * total[:, -1])[:, None]
    tokens: Ints = np.minimum(below.sum(axis=1), scaled.shape[1] - 1)
    return tokens


def _from_few(scaled: Floats, number: Doubles, settings: Sequence[RowSettings]) -> Ints:
    lowest, mass = _limits(scaled, settings)
    index, ids = np.nonzero(scaled >= lowest[:, None])
    counts = np.bincount(index, minlength=len(scaled))
    place = np.arange(len(ids)) - np.repeat(np.cumsum(counts) - counts, counts)
    weights = np.zeros((len(scaled), counts.max()))
    table = np.zeros(weights.shape, dtype=np.int64)
    weights[index, place] = np.exp(scaled[index, ids].astype(np.float64))
    table[index, place] = ids
    order = np.argsort(-weights, axis=1, kind="stable")
    weights = np.take_along_axis(weights, order, axis=1)
    top_k = np.array([s.top_k or weights.shape[1] for s in settings])
    weights[np.arange(weights.shape[1]) >= top_k[:, None]] = 0.0
    total = np.cumsum(weights, axis=1)
    top_p = np.array([max(s.top_p, NARROWEST) for s in settings])
    reached = (total - weights) >= (top_p * np.where(mass > 0, mass, total[:, -1]))[:, None]
    weights[reached & (top_p < 1.0)[:, None]] = 0.0
    total = np.cumsum(weights, axis=1)
    chosen = (total <= (number * total[:, -1])[:, None]).sum(axis=1)
    chosen = np.minimum(chosen, np.count_nonzero(weights, axis=1) - 1)
    every = np.arange(len(scaled))
    tokens: Ints = table[every, order[every, chosen]]
    return tokens


def _limits(scaled: Floats, settings: Sequence[RowSettings]) -> tuple[Doubles, Doubles]:
    """Return each row's lowest logit that can be drawn and the mass top_p refers to (0: what is left)."""
    lowest, mass = np.full(len(settings), -np.inf), np.zeros(len(settings))
    size = scaled.shape[1]
    for i, s in enumerate(settings):
        if s.min_p > 0:
            lowest[i] = np.log(s.min_p)
        if 0 < s.top_k < size and (s.min_p == 0 or s.top_k < np.count_nonzero(scaled[i] >= lowest[i])):
            lowest[i] = max(lowest[i], np.partition(scaled[i], size - s.top_k)[size - s.top_k])
        elif s.min_p == 0 and s.top_p < 1:
            weights = np.exp(scaled[i])
            mass[i] = weights.sum(dtype=np.float64)
            if weights[scaled[i] >= -NUCLEUS_NATS].sum(dtype=np.float64) >= s.top_p * mass[i]:
                lowest[i] = -NUCLEUS_NATS
    return lowest, mass
