"""A causal model stepped row by row with ONNX Runtime on the CPU: the embedded default.

Keys and values live in slots of buffers that the operators read and extend in place, so that a step copies
nothing but its tokens and logits. Running rows share one call; a prompt has a call of its own. A row's logits
are bitwise the same whatever shares its batch. Knows nothing of checkpoints, sampling or of who asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as states

from engine.backends.base import Ints, Logits
from engine.backends.onnx_graph import Graph

SLOT_STEP = 8
ROOM_STEP = 512
SERIOUS = 3
REFUSALS = (
    states.Fail,
    states.InvalidGraph,
    states.InvalidArgument,
    states.NotImplemented,
    states.RuntimeException,
)
OPTIONS = {
    # A thread that spins while it waits takes the time of whatever else runs on these cores: with a busy
    # neighbour steps took three times as long, and an idle engine must not burn a core.
    "session.intra_op.allow_spinning": "0",
    "session.inter_op.allow_spinning": "0",
}


def session(graph: Graph, threads: int) -> ort.InferenceSession:
    """Return a session that runs a graph on the CPU. Raises RuntimeError where ONNX Runtime refuses it."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = SERIOUS
    for name, value in OPTIONS.items():
        options.add_session_config_entry(name, value)
    values = [ort.OrtValue.ortvalue_from_numpy(array) for array in graph.arrays.values()]
    options.add_external_initializers(list(graph.arrays), values)
    try:
        return ort.InferenceSession(graph.model, options, providers=["CPUExecutionProvider"])
    except REFUSALS as error:
        raise RuntimeError(str(error)) from error


@dataclass(frozen=True)
class _Call:
    """One call over adjacent slots and the arrays bound to it, which are filled anew for each run."""

    binding: ort.IOBinding
    tokens: Ints
    positions: Ints
    last_positions: npt.NDArray[np.int32]
    longest: npt.NDArray[np.int32]
    picks: Ints
    logits: Logits


class OnnxBackend:
    """Steps a graph; see `StepBackend`."""

    def __init__(self, graph: Graph, context: int, threads: int) -> None:
        self.vocab_size = graph.vocabulary
        self.context = context
        self.heads = graph.heads
        self._graph, self._threads = graph, threads
        self._session = session(graph, threads)
        self._room = min(context, ROOM_STEP)
        self._cache = self._buffer(0)
        # Bytes of a number in the cache and of a weight: what a step reads follows from them.
        self.cache_bytes = self._cache.itemsize
        self.weight_bytes = min(array.itemsize for array in graph.arrays.values())
        self._held = np.zeros(0, dtype=np.int64)
        self._logits = self._room_for_logits(0)
        self._calls: dict[tuple[int, int], _Call] = {}

    def twin(self) -> OnnxBackend:
        """Return another one of the same model, with slots and threads of its own."""
        return OnnxBackend(self._graph, self.context, self._threads)

    def step(self, tokens: Ints, slots: Ints, positions: Ints, rows: Ints) -> Logits:
        if len(rows) == len(tokens) and positions.min() > 0 and (slots[1:] == slots[:-1] + 1).all():
            return self._decode(tokens, int(slots[0]), positions)
        return self._mixed(tokens, slots, positions, rows)

    def _mixed(self, tokens: Ints, slots: Ints, positions: Ints, rows: Ints) -> Logits:
        """Take running tokens and prompts in any order, adjacent running slots together."""
        starts = np.flatnonzero(np.r_[True, slots[1:] != slots[:-1]])
        ends = np.r_[starts[1:], len(slots)]
        fresh = positions[starts] == 0
        running = starts[~fresh]
        if (ends[~fresh] - running != 1).any():
            raise ValueError("a running slot takes one token a step")
        parts = [
            self._decode(tokens[at], int(slots[at[0]]), positions[at]) for at in _adjacent(running, slots)
        ]
        at = [running]
        for start, end in zip(starts[fresh], ends[fresh], strict=True):
            wanted = rows[(rows >= start) & (rows < end)]
            if len(wanted):
                parts.append(self._prefill(tokens[start:end], int(slots[start]), wanted - start))
                at.append(wanted)
        where = np.concatenate(at)
        order = np.argsort(where)
        return np.concatenate(parts)[order[np.searchsorted(where[order], rows)]]

    def copy(self, source: int, targets: Sequence[int], length: int) -> None:
        if not targets:
            return
        self._reserve(max(targets) + 1, length)
        for target in targets:
            self._cache[:, :, target, :, :length] = self._cache[:, :, source, :, :length]
            self._held[target] = length

    def _decode(self, tokens: Ints, first: int, positions: Ints) -> Logits:
        """Take one token for each of the slots first … first+len-1, of which each holds its past."""
        longest = int(positions.max()) + 1
        self._reserve(first + len(tokens), longest)
        self._held[first : first + len(tokens)] = positions + 1
        call = self._calls.get((first, len(tokens)))
        if call is None:
            call = self._calls[first, len(tokens)] = self._call(first, 1, self._logits[: len(tokens)])
        call.tokens[:, 0] = tokens
        call.positions[:, 0] = positions
        call.last_positions[:] = positions
        call.longest[...] = longest
        self._session.run_with_iobinding(call.binding)
        # Binding another array in each step takes longer than this copy.
        return call.logits[:, 0].copy()

    def _prefill(self, tokens: Ints, slot: int, picks: Ints) -> Logits:
        """Take a whole prompt in one slot; logits of the positions `picks`."""
        self._reserve(slot + 1, len(tokens))
        self._held[slot] = len(tokens)
        logits = np.empty((1, len(picks), self.vocab_size), dtype=np.float32)
        call = self._call(slot, len(tokens), logits)
        call.tokens[0] = tokens
        call.positions[0] = np.arange(len(tokens))
        call.last_positions[:] = len(tokens) - 1
        call.longest[...] = len(tokens)
        call.picks[:] = picks
        self._session.run_with_iobinding(call.binding)
        alone: Logits = logits[0]
        return alone

    def _call(self, first: int, length: int, logits: Logits) -> _Call:
        """Bind a call over the slots from `first` on that fills `logits` [rows, picks, vocabulary]."""
        rows, picks, _ = logits.shape
        call = _Call(
            self._session.io_binding(),
            tokens=np.zeros((rows, length), dtype=np.int64),
            positions=np.zeros((rows, length), dtype=np.int64),
            last_positions=np.zeros(rows, dtype=np.int32),
            longest=np.zeros((), dtype=np.int32),
            picks=np.zeros(picks, dtype=np.int64),
            logits=logits,
        )
        bind = call.binding.bind_input
        for name in ("tokens", "last_positions", "longest", "picks"):
            _bind(bind, name, getattr(call, name))
        if self._graph.positions:
            _bind(bind, "positions", call.positions)
        _bind(call.binding.bind_output, "logits", call.logits)
        for layer, pair in enumerate(self._cache):
            for name, buffer in zip(("key", "value"), pair, strict=True):
                part = buffer[first : first + rows]
                _bind(bind, f"past_{name}_{layer}", part)
                _bind(call.binding.bind_output, f"{name}_{layer}", part)
        return call

    def largest(self, slot: int) -> npt.NDArray[np.float32]:
        """Return the largest magnitudes [layers, 2, kv_heads, head_dim] of the keys and values in a slot."""
        held = self._cache[:, :, slot, :, : self._held[slot]]
        found: npt.NDArray[np.float32] = np.abs(held).max(axis=3).astype(np.float32)
        return found

    def _room_for_logits(self, slots: int) -> Logits:
        return np.empty((slots, 1, self.vocab_size), dtype=np.float32)

    def _buffer(self, slots: int) -> npt.NDArray[np.generic]:
        # Zeros take no memory before something is written, so that room costs nothing until it is used.
        shape = (self._graph.layers, 2, slots, self._graph.kv_heads, self._room, self._graph.head_dim)
        return np.zeros(shape, dtype=np.int8 if self._graph.eight_bit_cache else np.float32)

    def _reserve(self, slots: int, length: int) -> None:
        """Make room for `slots` slots of `length` positions, keeping what is there."""
        have = len(self._held)
        if slots <= have and length <= self._room:
            return
        slots = max(have, -(-slots // SLOT_STEP) * SLOT_STEP)
        self._room = max(self._room, min(self.context, -(-length // ROOM_STEP) * ROOM_STEP))
        old, self._cache = self._cache, self._buffer(slots)
        self._calls.clear()
        self._logits = self._room_for_logits(slots)
        for slot, held in enumerate(self._held):
            self._cache[:, :, slot, :, :held] = old[:, :, slot, :, :held]
        self._held = np.r_[self._held, np.zeros(slots - have, dtype=np.int64)]


def _bind(bind: Callable[..., None], name: str, array: npt.NDArray[Any]) -> None:
    """Let a name stand for an array, which must be contiguous and outlive the binding."""
    bind(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)


def _adjacent(running: Ints, slots: Ints) -> Iterator[Ints]:
    """Split the places of running tokens into those of adjacent slots, which one call can take."""
    if len(running):
        breaks = np.flatnonzero(np.diff(slots[running]) != 1) + 1
        yield from np.split(running, breaks)
