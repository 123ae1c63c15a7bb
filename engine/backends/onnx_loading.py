"""From a model directory to a backend on ONNX Runtime, checked before use.

8-bit weights and an 8-bit cache where they cost next to nothing, float32 else. Knows nothing of other
backends.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from engine.backends.onnx_causal import OnnxBackend
from engine.backends.onnx_check import MAX_WORSENING, apart, bits_per_byte, held_out
from engine.backends.onnx_graph import UnknownLayout, build
from engine.backends.onnx_weights import LARGEST, Floats, read_weights
from engine.prompts import Codec, PromptFamily

# Room in an 8-bit cache for keys and values larger than those of the held-out texts, which are cut off else.
MARGIN = 1.5
SMALLEST = 1e-6

_log = structlog.get_logger("engine")


class Unfit(Exception):
    """Why a checkpoint can't be run here, in half a sentence."""


def load_onnx(
    directory: Path, codec: Codec, family: PromptFamily, *, context: int, threads: int
) -> OnnxBackend:
    """Load a causal model (blocking; 1 s for the shipped one).

    Raises Unfit for what another backend may run, OSError, ValueError or SafetensorError for broken files.
    """
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    weights = read_weights(directory)
    for name, weight in weights.items():
        # An 8-bit cache would turn them into numbers and hide the fault.
        if not np.isfinite(weight.sum()):
            raise ValueError(f"{name} holds values that are no numbers")
    texts = held_out(codec, family, context)
    make = partial(_backend, config, weights, context, threads)
    plain = make()
    ranges: list[Floats] = []
    exact = bits_per_byte(plain, texts, lambda: ranges.append(plain.largest(0)))
    if not math.isfinite(exact):
        raise Unfit("its logits are no numbers")
    steps = np.maximum(np.max(ranges, axis=0), SMALLEST) * (MARGIN / LARGEST)
    for integers, cache_steps in ((True, steps), (False, steps), (False, None)):
        if cache_steps is not None and threads > plain.heads:
            continue
        small = make(quantised=True, cache_steps=cache_steps, integers=integers)
        rounded = bits_per_byte(small, texts)
        if rounded < exact * (1 + MAX_WORSENING) and apart(small):
            return small
        _log.warning(
            "8 bits are not good enough here",
            model=directory.name,
            products="integers" if integers else "blocks",
            cache="float32" if cache_steps is None else "8 bits",
            bits_per_byte=round(rounded, 4),
            bits_per_byte_float32=round(exact, 4),
        )
    return plain


def _backend(
    config: Mapping[str, Any],
    weights: Mapping[str, Floats],
    context: int,
    threads: int,
    *,
    quantised: bool = False,
    cache_steps: Floats | None = None,
    integers: bool = False,
) -> OnnxBackend:
    try:
        graph = build(
            config,
            weights,
            context=context,
            quantised=quantised,
            cache_steps=cache_steps,
            integers=integers,
        )
        return OnnxBackend(graph, context, threads)
    except UnknownLayout as error:
        raise Unfit(str(error)) from error
    except RuntimeError as error:
        raise Unfit(str(error).strip().splitlines()[0][:200]) from error
