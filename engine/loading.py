"""From a model directory to something that decodes: weights, tokenizer, prompt family.

The only place that picks a backend: ONNX Runtime on the CPU for the layouts that it knows, torch for all
else, where it is installed. Imports either when a model is loaded, not before.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from safetensors import SafetensorError

from engine.backends.torch_later import INSTALL, LaterWhole, has_torch, quiet_threads
from engine.errors import ModelRefused, UnsupportedSetting
from engine.prompts import Codec, PromptFamily, family_for
from engine.reranking import FOLDER, Reranker, load_reranker
from engine.vocabulary import Vocabulary

if TYPE_CHECKING:
    from engine.backends.base import StepBackend, WholeBackend
    from engine.registry import ModelCard

DEFAULT_CONTEXT = 512
# Weights of so many bytes stay in a core's own cache: threads then do more each for itself than together.
SMALL_BYTES = 32_000_000

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

    `device` is auto, cpu or cuda, `backend` auto, onnx or torch. Raises ModelRefused with a sentence when
    that can't be done.
    """
    family = family_for(card.family)
    context = card.context or DEFAULT_CONTEXT
    quiet_threads()
    place = _place(device, backend)
    try:
        codec = Codec.from_directory(card.directory)
        vocabulary = Vocabulary.from_directory(card.directory)
        steps, whole = _backends(card, codec, family, context, place, threads, backend)
        end = family.end_token(codec)
        ends = frozenset({end} if end is not None else _configured_ends(card.directory))
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelRefused(f"The model {card.name} can't be loaded: {_first_line(error)}") from error
    scorer = load_reranker(reranker or card.directory / FOLDER, card.directory, family, codec, place)
    return LoadedModel(card, family, codec, vocabulary, ends, steps, whole, scorer)


def _backends(
    card: ModelCard,
    codec: Codec,
    family: PromptFamily,
    context: int,
    place: str,
    threads: int,
    backend: str,
) -> tuple[StepBackend | None, WholeBackend | None]:
    if place == "cpu" and backend in ("auto", "onnx"):
        try:
            return _onnx(card, codec, family, context, threads)
        except _Unfit as unfit:
            if backend == "onnx":
                raise ModelRefused(f"ONNX Runtime can't run the model {card.name}: {unfit}.") from unfit
            if not has_torch():
                raise ModelRefused(
                    f"The model {card.name} needs PyTorch, which is not installed here: {INSTALL}. "
                    f"Without it: {unfit}."
                ) from unfit
            _log.info("decoding with torch", model=card.name, why=str(unfit))
    if not has_torch():
        raise ModelRefused(f"Decoding with PyTorch needs it installed: {INSTALL}.")
    from engine.backends.torch_loading import load_torch

    return load_torch(card, context, place=place, threads=threads)


class _Unfit(Exception):
    """Why ONNX Runtime can't run a model, in half a sentence."""


def _onnx(
    card: ModelCard, codec: Codec, family: PromptFamily, context: int, threads: int
) -> tuple[StepBackend, WholeBackend | None]:
    if card.encodes:
        raise _Unfit("encoder-decoder models can't be stepped")
    from engine.backends.onnx_loading import Unfit, load_onnx
    from engine.backends.replicas import Replicas

    size = sum(path.stat().st_size for path in card.directory.glob("*.safetensors"))
    copies = threads if size <= SMALL_BYTES else 1
    try:
        one = load_onnx(card.directory, codec, family, context=context, threads=threads // copies)
    except Unfit as unfit:
        raise _Unfit(str(unfit)) from unfit
    steps = Replicas([one, *(one.twin() for _ in range(copies - 1))]) if copies > 1 else one
    return steps, LaterWhole(card, steps.vocab_size, context) if has_torch() else None


def _place(device: str, backend: str) -> str:
    """Return cpu or cuda. Asks torch only where there is an NVIDIA driver: importing it takes seconds."""
    if device != "auto":
        return device
    if backend == "onnx" or not has_torch() or shutil.which("nvidia-smi") is None:
        return "cpu"
    from engine.backends.torch_loading import best_device

    return best_device()


def _configured_ends(directory: Path) -> set[int]:
    for name in ("generation_config.json", "config.json"):
        path = directory / name
        found = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id") if path.is_file() else None
        if found is not None:
            return {int(token) for token in (found if isinstance(found, list) else [found])}
    return set()


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
