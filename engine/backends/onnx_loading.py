"""From a model directory to a backend on ONNX Runtime, checked before use.

8-bit weights where they cost next to nothing, float32 else. Knows nothing of other backends.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from engine.backends.onnx_causal import OnnxBackend
from engine.backends.onnx_check import MAX_WORSENING, bits_per_byte, held_out
from engine.backends.onnx_graph import UnknownLayout, build
from engine.backends.onnx_weights import Floats, read_weights
from engine.prompts import Codec, PromptFamily

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
    texts = held_out(codec, family, context)
    plain = _backend(config, weights, context=context, threads=threads, quantised=False)
    exact = bits_per_byte(plain, texts)
    if not math.isfinite(exact):
        raise Unfit("its logits are no numbers")
    small = _backend(config, weights, context=context, threads=threads, quantised=True)
    rounded = bits_per_byte(small, texts)
    worse = rounded / exact - 1
    if not worse < MAX_WORSENING:
        _log.warning(
            "8-bit weights cost too much; using float32",
            model=directory.name,
            bits_per_byte=round(exact, 4),
            bits_per_byte_8bit=round(rounded, 4),
        )
        return plain
    return small


def _backend(
    config: Mapping[str, Any],
    weights: Mapping[str, Floats],
    *,
    context: int,
    threads: int,
    quantised: bool,
) -> OnnxBackend:
    try:
        graph = build(config, weights, context=context, quantised=quantised)
        return OnnxBackend(graph, context, threads)
    except UnknownLayout as error:
        raise Unfit(str(error)) from error
    except RuntimeError as error:
        raise Unfit(str(error).strip().splitlines()[0][:200]) from error
