"""Any causal checkpoint of transformers, stepped row by row (CPU or CUDA).

Keys and values live in slots of one growing tensor a layer, so that rows join and leave without copying
the others. On the CPU a row's logits are bitwise the same whatever shares its batch: linear layers are
packed (see `packed`), attention runs over lengths that are multiples of LENGTH_STEP, and prompts are
computed together only with prompts of the same rounded length. Knows nothing of sampling or of who asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers.cache_utils import Cache, CacheLayerMixin

from engine.backends.base import Ints, Logits

# Attention kernels split sums of other lengths differently, which moves the last bits (measured).
LENGTH_STEP = 32
SLOT_STEP = 8


@dataclass
class _Plan:
    """Where the tokens of the running forward pass go; shared by all layers."""

    slots: torch.Tensor
    positions: torch.Tensor
    length: int
    prefill: bool
    dense: bool


class _SlotLayer(CacheLayerMixin):  # type: ignore[misc]
    """Keys and values of one layer: [slots, heads, length, head size], grown on demand."""

    is_sliding = False

    def __init__(self) -> None:
        super().__init__()
        self.plan: _Plan | None = None  # set before each forward pass

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.keys = key_states.new_zeros((0, key_states.shape[1], 0, key_states.shape[3]))
        self.values = value_states.new_zeros((0, value_states.shape[1], 0, value_states.shape[3]))
        self.is_initialized = True

    def reserve(self, slots: int, length: int) -> None:
        """Make room for `slots` slots of `length` positions, keeping what is there."""
        have_slots, _, have_length, _ = self.keys.shape
        if slots <= have_slots and length <= have_length:
            return
        slots = max(have_slots, -(-slots // SLOT_STEP) * SLOT_STEP)
        length = max(have_length, -(-length // LENGTH_STEP) * LENGTH_STEP)
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = old.new_zeros((slots, old.shape[1], length, old.shape[3]))
            new[:have_slots, :, :have_length] = old
            setattr(self, name, new)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        plan = self.plan
        assert plan is not None
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        rows = len(plan.slots)
        self.reserve(int(plan.slots.max()) + 1, plan.length)
        if plan.prefill:
            self.keys[plan.slots, :, : plan.length] = key_states
            self.values[plan.slots, :, : plan.length] = value_states
            return key_states, value_states
        self.keys[plan.slots, :, plan.positions] = key_states[:, :, 0]
        self.values[plan.slots, :, plan.positions] = value_states[:, :, 0]
        if plan.dense:
            return self.keys[:rows, :, : plan.length], self.values[:rows, :, : plan.length]
        return self.keys[plan.slots, :, : plan.length], self.values[plan.slots, :, : plan.length]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return (self.plan.length if self.plan else query_length), 0

    def get_seq_length(self) -> int:
        return 0

    def get_max_length(self) -> int:
        return -1


def _round_up(lengths: Ints) -> Ints:
    rounded: Ints = -(-lengths // LENGTH_STEP) * LENGTH_STEP
    return rounded


def _places(rows: Ints, at: Ints) -> tuple[Ints, Ints]:
    """Return which of `at` are wanted (indices into `at`) and where in `rows` each stands."""
    _, found, there = np.intersect1d(at, rows, return_indices=True)
    return found, there


def _accompanied(tokens: Ints, slots: Ints, positions: Ints) -> tuple[Ints, Ints, Ints]:
    """Give a lone row company in the next slot, which is free: with several threads it would take another
    kernel than a row among others."""
    if len(tokens) > 1:
        return tokens, slots, positions
    return np.repeat(tokens, 2), np.array([slots[0], slots[0] + 1]), np.repeat(positions, 2)


class TorchBackend:
    """Steps a loaded causal model; see `StepBackend`."""

    def __init__(self, model: Any, context: int) -> None:
        self._model = model.eval()
        self.vocab_size = int(model.config.vocab_size)
        self.context = context
        self._device = model.device
        self._lowest = torch.finfo(model.dtype).min
        self._layers = [_SlotLayer() for _ in range(model.config.num_hidden_layers)]
        self._cache = Cache(layers=self._layers)

    @torch.inference_mode()
    def step(self, tokens: Ints, slots: Ints, positions: Ints, rows: Ints) -> Logits:
        starts = np.flatnonzero(np.r_[True, slots[1:] != slots[:-1]])
        lengths = np.diff(np.r_[starts, len(slots)])
        logits = np.empty((len(rows), self.vocab_size), dtype=np.float32)
        ends = starts + lengths - 1
        fresh = positions[starts] == 0
        running = np.flatnonzero(~fresh)
        if (lengths[running] != 1).any():
            raise ValueError("a running slot takes one token a step")
        parts: list[tuple[Ints, Logits]] = []
        if len(running):
            at = ends[running]
            parts.append((at, self._decode(*_accompanied(tokens[at], slots[at], positions[at]))[: len(at)]))
        rounded = np.where(fresh, _round_up(lengths), 0)
        for length in np.unique(rounded[fresh]):
            chosen = np.flatnonzero(rounded == length)
            out = self._prefill(tokens, slots, starts[chosen], lengths[chosen], int(length))
            parts.append((ends[chosen], out))
        for at, out in parts:
            found, there = _places(rows, at)
            logits[there] = out[found]
        self._forget_broken(slots[rows], logits)
        return logits

    def _forget_broken(self, slots: Ints, logits: Logits) -> None:
        """Zero the slots whose logits are not numbers: a NaN in a cache spreads to the slot's next row."""
        broken = slots[~np.isfinite(logits.max(axis=1))]
        for layer in self._layers if len(broken) else ():
            layer.keys[broken] = 0
            layer.values[broken] = 0

    def copy(self, source: int, targets: Sequence[int], length: int) -> None:
        if not targets:
            return
        with torch.inference_mode():
            for layer in self._layers:
                layer.reserve(max(targets) + 1, length)
                for target in targets:
                    layer.keys[target, :, :length] = layer.keys[source, :, :length]
                    layer.values[target, :, :length] = layer.values[source, :, :length]

    def _prefill(self, tokens: Ints, slots: Ints, starts: Ints, lengths: Ints, width: int) -> Logits:
        ids = torch.zeros((len(starts), width), dtype=torch.long)
        for row, (start, length) in enumerate(zip(starts, lengths, strict=True)):
            ids[row, :length] = torch.from_numpy(tokens[start : start + length])
        causal = torch.full((width, width), self._lowest).triu(1)[None, None]
        keep, place = np.unique(lengths - 1, return_inverse=True)
        # Positions past the context are padding, yet learned position tables must not be left.
        positions = torch.arange(width).clamp(max=self.context - 1)
        where = torch.from_numpy(slots[starts]).to(self._device)
        plan = _Plan(where, positions, length=width, prefill=True, dense=False)
        out = self._forward(ids, positions.expand(len(starts), -1), causal, plan, torch.from_numpy(keep))
        picked: Logits = out[np.arange(len(starts)), place]
        return picked

    def _decode(self, tokens: Ints, slots: Ints, positions: Ints) -> Logits:
        length = int(_round_up(positions.max() + 1))
        place = torch.from_numpy(positions)
        mask = torch.zeros((len(tokens), length))
        mask.masked_fill_(torch.arange(length) > place[:, None], self._lowest)
        dense = bool((slots == np.arange(len(slots))).all())
        where = torch.from_numpy(slots).to(self._device)
        plan = _Plan(where, place.to(self._device), length, prefill=False, dense=dense)
        ids = torch.from_numpy(tokens)[:, None]
        out = self._forward(ids, place[:, None], mask[:, None, None], plan, torch.tensor([0]))
        last: Logits = out[:, -1]
        return last

    def _forward(
        self, ids: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor, plan: _Plan, keep: torch.Tensor
    ) -> Logits:
        for layer in self._layers:
            layer.plan = plan
        out = self._model(
            input_ids=ids.to(self._device),
            position_ids=positions.to(self._device),
            attention_mask=mask.to(self._device, self._model.dtype),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=keep.to(self._device),
        )
        logits: Logits = out.logits.float().cpu().numpy()
        return logits
