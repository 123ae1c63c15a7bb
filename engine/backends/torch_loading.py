"""From a model directory to backends on torch: steps where they go right, whole texts always."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM
from transformers.utils import logging as transformers_logging

from engine.backends.base import StepBackend
from engine.backends.packed import pack
from engine.backends.probe import deviation
from engine.backends.torch_causal import TorchBackend
from engine.backends.torch_generate import GenerateBackend

if TYPE_CHECKING:
    from engine.registry import ModelCard

# What a row's logits may differ between stepping and one plain pass, as a share of their spread.
PROBE_TOLERANCE = 1e-3

_log = structlog.get_logger("engine")


def best_device() -> str:
    """Return `cuda` where torch can use one, else `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def load_torch(
    card: ModelCard, context: int, *, place: str, threads: int
) -> tuple[StepBackend | None, GenerateBackend]:
    """Load a model (blocking, seconds); the step backend is None for what can only be written whole.

    Raises OSError, ValueError, KeyError, RuntimeError or SafetensorError for what can't be loaded.
    """
    torch.set_num_threads(threads)
    model = _weights(card, place)
    steps = None if card.encodes else _stepping(model, context, card.name)
    return steps, GenerateBackend(model, context)


def load_whole(card: ModelCard, context: int) -> GenerateBackend:
    """Load a model for whole texts beside another backend: on the CPU, with one thread.

    Two pools of threads on the same cores made both four times slower (measured). Raises as `load_torch`.
    """
    torch.set_num_threads(1)
    return GenerateBackend(_weights(card, "cpu"), context)


def _weights(card: ModelCard, place: str) -> Any:
    transformers_logging.disable_progress_bar()
    kind = AutoModelForSeq2SeqLM if card.encodes else AutoModelForCausalLM
    model, found = kind.from_pretrained(
        card.directory,
        dtype=torch.float32 if place == "cpu" else "auto",
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        attn_implementation=None,
        output_loading_info=True,
    )
    if found["missing_keys"]:
        # transformers fills what is missing with random numbers.
        raise ValueError(f"its weights lack {min(found['missing_keys'])}, as config.json describes them")
    return model.to(place).eval()


def _stepping(model: Any, context: int, name: str) -> StepBackend | None:
    """Return a step backend for a causal model, None when a probe shows that stepping goes wrong for it."""
    try:
        off = deviation(model, TorchBackend(model, context))
    except (TypeError, ValueError, RuntimeError, AttributeError, IndexError) as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        _log.warning("this model can't be stepped; writing whole texts", model=name, why=why)
        return None
    if off > PROBE_TOLERANCE:
        _log.warning("stepping differs from a plain pass; writing whole texts", model=name, deviation=off)
        return None
    if model.device.type == "cpu":
        pack(model)
    return TorchBackend(model, context)
