"""From a model directory to something that decodes: weights, tokenizer, prompt family.

The only place that picks a backend. Imports torch and transformers when a model is loaded, not before.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from engine.errors import ModelRefused, UnsupportedSetting
from engine.prompts import Codec, PromptFamily, family_for
from engine.reranking import FOLDER, Reranker, load_reranker
from engine.vocabulary import Vocabulary

if TYPE_CHECKING:
    from engine.backends.base import StepBackend, WholeBackend
    from engine.registry import ModelCard

# What a row's logits may differ between stepping and one plain pass, as a share of their spread.
PROBE_TOLERANCE = 1e-3
DEFAULT_CONTEXT = 512
INSTALL = "pip install 'wordtale[gpu]'"

_log = structlog.get_logger("engine")


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory. `steps` is None for what can only be written whole; `whole` does beams.

    `whole` is None where torch is not installed, `reranker` for a model without a learned scorer.
    """

    card: ModelCard
    family: PromptFamily
    codec: Codec
    vocabulary: Vocabulary
    end_ids: frozenset[int]
    steps: StepBackend | None
    whole: WholeBackend | None
    reranker: Reranker | None = None

    def backend(self, num_beams: int | None = None) -> StepBackend | WholeBackend:
        """Return what decodes with so many beams. Raises UnsupportedSetting, saying what to install."""
        chosen = self.steps if (num_beams or 1) == 1 else None
        if chosen is not None:
            return chosen
        if self.whole is None:
            raise UnsupportedSetting(f"Beams need PyTorch, which is not installed here: {INSTALL}.")
        return self.whole


def load(
    card: ModelCard, *, device: str, threads: int, backend: str = "auto", reranker: Path | None = None
) -> LoadedModel:
    """Load a model (blocking, seconds) with its learned scorer, or with the one in the folder `reranker`.

    Raises ModelRefused with a sentence when that can't be done.
    """
    # Threads that spin while they wait made a step 50 times slower whenever another program was busy.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import torch
    from safetensors import SafetensorError
    from transformers.utils import logging as transformers_logging

    from engine.backends.torch_generate import GenerateBackend

    transformers_logging.disable_progress_bar()
    torch.set_num_threads(threads)
    place = device if device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        codec = Codec.from_directory(card.directory)
        vocabulary = Vocabulary.from_directory(card.directory)
        model = _weights(card, place)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelRefused(f"The model {card.name} can't be loaded: {_first_line(error)}") from error
    context = card.context or DEFAULT_CONTEXT
    steps = None if card.encodes else _stepping(model, context, card.name)
    family = family_for(card.family)
    end = family.end_token(codec)
    ends = frozenset({end} if end is not None else _configured_ends(model))
    scorer = load_reranker(reranker or card.directory / FOLDER, card.directory, family, codec, place)
    return LoadedModel(card, family, codec, vocabulary, ends, steps, GenerateBackend(model, context), scorer)


def _weights(card: ModelCard, place: str) -> Any:
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    kind = AutoModelForSeq2SeqLM if card.encodes else AutoModelForCausalLM
    model = kind.from_pretrained(
        card.directory,
        dtype=torch.float32 if place == "cpu" else "auto",
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        attn_implementation=None,
    )
    return model.to(place).eval()


def _stepping(model: Any, context: int, name: str) -> StepBackend | None:
    """Return a step backend for a causal model, None when a probe shows that stepping goes wrong for it."""
    from engine.backends.packed import pack
    from engine.backends.probe import deviation
    from engine.backends.torch_causal import TorchBackend

    try:
        off = deviation(model, TorchBackend(model, context))
    except (TypeError, ValueError, RuntimeError, AttributeError, IndexError) as error:
        _log.warning("this model can't be stepped; writing whole texts", model=name, why=_first_line(error))
        return None
    if off > PROBE_TOLERANCE:
        _log.warning("stepping differs from a plain pass; writing whole texts", model=name, deviation=off)
        return None
    if model.device.type == "cpu":
        pack(model)
    return TorchBackend(model, context)


def _configured_ends(model: Any) -> set[int]:
    configured = model.generation_config.eos_token_id
    if configured is None:
        return set()
    return {configured} if isinstance(configured, int) else set(configured)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
