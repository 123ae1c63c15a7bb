"""Drawing one token for each row from its logits. Numpy only; knows nothing of models, words or requests.

Rows are drawn together but never touch each other: every sum runs within a row and in an order that does
not depend on the others, and random numbers come from (seed, stream, step) alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.jobs import Bias, RowPlan, RowSettings
from engine.repetition import Loops, NGrams

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# With top_p alone, tokens this many nats below the best are looked at only if the others don't suffice.
NUCLEUS_NATS = 8.0

# Below these only the best token is left, and the arithmetic would overflow or vanish.
COLDEST = 1e-4
NARROWEST = 1e-9

# Logits are looked at in so many interleaved blocks to bound the k-th highest from below.
BLOCKS = 256


def uniforms(seed: int, stream: int, count: int) -> Doubles:
    """Return numbers in [0, 1) for steps 0 … count-1: the same on every machine and numpy version."""
    raw = np.random.Philox(key=np.array([seed, stream], dtype=np.uint64)).random_raw(count)
    return (np.asarray(raw, dtype=np.uint64) >> np.uint64(11)).astype(np.float64) * 2.0**-53


@dataclass(frozen=True, slots=True)
class Filters:
    """What decides which tokens can be drawn; `reach` is min_p in logits, 0 or less."""

    temperature: float
    reach: float
    top_k: int
    top_p: float

    @classmethod
    def of(cls, settings: RowSettings) -> Filters:
        reach = settings.temperature * math.log(settings.min_p) if settings.min_p > 0 else -math.inf
        return cls(settings.temperature, reach, settings.top_k, max(settings.top_p, NARROWEST))

    @property
    def warm(self) -> bool:
        """Whether there is anything to draw; else the best token is taken."""
        return self.temperature >= COLDEST

    @property
    def plain(self) -> bool:
        """Whether every token can be drawn."""
        return self.top_k == 0 and self.top_p == 1.0 and self.reach == -math.inf


class RowMemory:
    """What one row needs between steps: its settings, random numbers and what it has written."""

    def __init__(self, plan: RowPlan, max_new_tokens: int) -> None:
        self.filters = Filters.of(plan.settings)
        self.penalty = plan.settings.repetition_penalty
        self._uniforms = uniforms(plan.seed, plan.stream, max_new_tokens)
        self._step = 0
        given = dict.fromkeys(plan.context)
        self._known = set(given)
        self._seen = np.empty(len(given) + max_new_tokens, dtype=np.int64)
        self._seen[: len(given)] = list(given)
        size, dry = plan.settings.no_repeat_ngram_size, plan.settings.dry_multiplier
        self._ngrams = NGrams(size, plan.context) if size else None
        self._loops = Loops(plan) if dry else None

    @property
    def uniform(self) -> float:
        """The random number of the coming step."""
        return float(self._uniforms[min(self._step, len(self._uniforms) - 1)])

    @property
    def seen(self) -> Ints:
        """Ids that the repetition penalty counts, each once."""
        return self._seen[: len(self._known)]

    def banned(self) -> Ints | None:
        """Ids that would repeat an n-gram."""
        return self._ngrams.banned() if self._ngrams else None

    def looping(self) -> Bias | None:
        """What to take off the logits of tokens that would go on with a loop."""
        return self._loops.bias() if self._loops else None

    def push(self, token: int) -> None:
        """Take note of the token drawn."""
        self._step += 1
        if token not in self._known:
            if len(self._known) == len(self._seen):
                self._seen = np.concatenate([self._seen, np.empty_like(self._seen, shape=64)])
            self._seen[len(self._known)] = token
            self._known.add(token)
        if self._ngrams:
            self._ngrams.push(token)
        if self._loops:
            self._loops.push(token)


@dataclass(frozen=True)
class Sampled:
    """One token a row; `ok` is false where the logits were no numbers (the token is then 0)."""

    tokens: Ints
    logprobs: Doubles
    ok: Bools


def sample(logits: Floats, rows: Sequence[RowMemory], biases: Sequence[Bias | None]) -> Sampled:
    """Draw a token for every row of `logits` [rows, vocabulary] (contiguous, changed in place)."""
    best = logits.max(axis=1)
    ok = np.isfinite(best)
    if not ok.all():
        logits[~ok] = 0.0
        best[~ok] = 0.0
    raw = logits - best[:, None]
    log_total = np.log(np.exp(raw).sum(axis=1).astype(np.float64))
    _penalise(logits, rows)
    _add_dense(logits, biases)
    _add(logits, biases)
    _add(logits, [row.looping() for row in rows])
    _ban(logits, rows)
    warm = [i for i, row in enumerate(rows) if row.filters.warm and ok[i]]
    if len(warm) == len(rows):
        tokens = _draw(logits, rows)
    else:
        tokens = logits.argmax(axis=1).astype(np.int64)
        if warm:
            tokens[warm] = _draw(logits[warm], [rows[i] for i in warm])
        tokens[~ok] = 0
    logprobs = raw[np.arange(len(tokens)), tokens] - log_total
    return Sampled(tokens, logprobs, ok)


def _places(ids: Sequence[Ints], width: int) -> Ints:
    """Return where each row's `ids` stand in the flattened logits."""
    if len(ids) == 1:
        return ids[0]
    starts = np.repeat(np.arange(len(ids)) * width, [len(some) for some in ids])
    return np.concatenate(ids) + starts


_NONE: Ints = np.empty(0, dtype=np.int64)


def _penalise(logits: Floats, rows: Sequence[RowMemory]) -> None:
    """Apply the repetition penalty of CTRL (Keskar et al. 2019) to every id a row has seen."""
    each = [row.penalty for row in rows]
    if all(penalty == 1.0 for penalty in each):
        return
    ids = [row.seen if penalty != 1.0 else _NONE for row, penalty in zip(rows, each, strict=True)]
    places = _places(ids, logits.shape[1])
    penalties = np.repeat(np.array(each, dtype=np.float32), [len(some) for some in ids])
    flat = logits.reshape(-1)
    old = flat[places]
    # The lower of the two is the quotient above zero and the product below.
    flat[places] = np.minimum(old / penalties, old * penalties)


def _add_dense(logits: Floats, biases: Sequence[Bias | None]) -> None:
    """Add the biases over the whole vocabulary, at once where neighbouring rows share one."""
    dense = [None if bias is None else bias.dense for bias in biases]
    if not any(dense):
        return
    places = _places([_NONE if one is None else one.spared for one in dense], logits.shape[1])
    flat = logits.reshape(-1)
    spared = flat[places]
    values = [None if one is None else one.values for one in dense]
    start = 0
    for end in range(1, len(values) + 1):
        if end == len(values) or values[end] is not values[start]:
            shared = values[start]
            if shared is not None:
                logits[start:end, : len(shared)] += shared
            start = end
    flat[places] = spared


def _add(logits: Floats, biases: Sequence[Bias | None]) -> None:
    """Add each row's sparse bias."""
    given = [bias for bias in biases if bias is not None]
    if given:
        places = _places([_NONE if bias is None else bias.ids for bias in biases], logits.shape[1])
        logits.reshape(-1)[places] += np.concatenate([bias.values for bias in given])


def _ban(logits: Floats, rows: Sequence[RowMemory]) -> None:
    """Rule out ids that would repeat an n-gram, unless that would leave a row nothing."""
    for i, row in enumerate(rows):
        banned = row.banned()
        if banned is not None and len(banned):
            old = logits[i, banned]
            logits[i, banned] = -np.inf
            if not np.isfinite(logits[i].max()):
                logits[i, banned] = old


def _draw(logits: Floats, rows: Sequence[RowMemory]) -> Ints:
    """Draw from each row by temperature, min_p, top_k, top_p in this order and one uniform number."""
    if not any(row.filters.plain for row in rows):
        return _from_few(logits, rows)
    tokens = np.zeros(len(rows), dtype=np.int64)
    for plain, draw in ((True, _from_all), (False, _from_few)):
        some = [i for i, row in enumerate(rows) if row.filters.plain is plain]
        if some:
            tokens[some] = draw(logits[some], [rows[i] for i in some])
    return tokens


def _from_all(logits: Floats, rows: Sequence[RowMemory]) -> Ints:
    number = np.array([row.uniform for row in rows])
    temperature = np.array([row.filters.temperature for row in rows], dtype=np.float32)
    scaled = (logits - logits.max(axis=1, keepdims=True)) / temperature[:, None]
    total = np.cumsum(np.exp(scaled), axis=1, dtype=np.float64)
    below = total <= (number * total[:, -1])[:, None]
    tokens: Ints = np.minimum(below.sum(axis=1), scaled.shape[1] - 1)
    return tokens


def _from_few(logits: Floats, rows: Sequence[RowMemory]) -> Ints:
    """Draw from the tokens that the filters leave, ordered by weight."""
    width = logits.shape[1]
    filters = [row.filters for row in rows]
    top = logits.max(axis=1)
    lowest, mass = _limits(logits, top, filters)
    places = np.flatnonzero(logits >= lowest[:, None])
    index = places // width
    counts = np.bincount(index, minlength=len(logits))
    most = int(counts.max())
    if most == 1:
        only: Ints = places - index * width
        return only
    column = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
    weights = np.zeros((len(logits), most))
    table = np.zeros(weights.shape, dtype=np.int64)
    temperature = np.array([f.temperature for f in filters])
    above = logits.reshape(-1)[places].astype(np.float64) - top[index]
    weights[index, column] = np.exp(above / temperature[index])
    table[index, column] = places - index * width
    order = np.argsort(-weights, axis=1, kind="stable")
    weights = np.take_along_axis(weights, order, axis=1)
    _cut(weights, filters, mass)
    total = np.cumsum(weights, axis=1)
    number = np.array([row.uniform for row in rows])
    chosen = (total <= (number * total[:, -1])[:, None]).sum(axis=1)
    chosen = np.minimum(chosen, np.count_nonzero(weights, axis=1) - 1)
    every = np.arange(len(logits))
    tokens: Ints = table[every, order[every, chosen]]
    return tokens


def _cut(weights: Doubles, filters: Sequence[Filters], mass: Doubles) -> None:
    """Set what top_k and then top_p leave out to zero; each row of `weights` falls."""
    if any(f.top_k for f in filters):
        top_k = np.array([f.top_k or weights.shape[1] for f in filters])
        weights[np.arange(weights.shape[1]) >= top_k[:, None]] = 0.0
    if any(f.top_p < 1 for f in filters):
        top_p = np.array([f.top_p if f.top_p < 1 else np.inf for f in filters])
        total = np.cumsum(weights, axis=1)
        reached = (total - weights) >= (top_p * np.where(mass > 0, mass, total[:, -1]))[:, None]
        weights[reached] = 0.0


def _limits(logits: Floats, top: Floats, filters: Sequence[Filters]) -> tuple[Floats, Doubles]:
    """Return each row's lowest logit that can be drawn and the mass top_p refers to (0: what is left)."""
    lowest = (top + np.array([f.reach for f in filters])).astype(np.float32)
    mass = np.zeros(len(filters))
    for i, f in enumerate(filters):
        if f.reach > -np.inf:
            continue
        if 0 < f.top_k < logits.shape[1]:
            lowest[i] = _among_highest(logits[i], f.top_k)
        elif f.top_p < 1:
            scaled = (logits[i] - top[i]) / np.float32(f.temperature)
            weights = np.exp(scaled)
            mass[i] = weights.sum(dtype=np.float64)
            near = weights[scaled >= -NUCLEUS_NATS].sum(dtype=np.float64)
            if near >= f.top_p * mass[i]:
                lowest[i] = top[i] - NUCLEUS_NATS * f.temperature
    return lowest, mass


def _among_highest(row: Floats, count: int) -> np.float32:
    """Return a bound that at least the `count` highest of a row reach, and few others where it can."""
    usable = len(row) - len(row) % BLOCKS
    if count <= BLOCKS // 2 and usable:
        row = row[:usable].reshape(-1, BLOCKS).max(axis=0)
    bound: np.float32 = np.partition(row, len(row) - count)[len(row) - count]
    return bound
