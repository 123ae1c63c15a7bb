"""The learned scorer that a model directory may have beside the model, in `reranker/`.

It says how much a draft looks like a written story that makes sense. A model works without one, and one that
can't be used is named in the log and left aside. Knows files, requests and texts; nothing of how a score
enters the choice. Imports torch when a scorer is loaded, not before.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.backends.torch_later import INSTALL, has_torch
from engine.prompts import Codec, PromptFamily
from engine.prompts.storyteller import Storyteller
from engine.schema import Kind, StoryRequest

if TYPE_CHECKING:
    from engine.backends.torch_scorer import Scorer

FOLDER = "reranker"
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
MAX_BYTES = 12 * 1024 * 1024
# Drafts in one forward pass.
BATCH = 32
# Points a standard deviation, where readers have not been asked yet, and at most.
DEFAULT_WEIGHT = 1.0
MAX_WEIGHT = 10.0

_log = structlog.get_logger("engine")


class RerankerConfig(BaseModel):
    """What `reranker/config.json` says.

    `tokenizer` is the SHA-256 of the tokenizer.json that the scorer reads with; `network` is the shape of the
    layers; `centre` and `spread` are mean and standard deviation of its logits over a model's own drafts;
    `weight` is how many points of a draft's score a standard deviation is worth.
    """

    model_config = ConfigDict(extra="ignore")

    format: Literal[1]
    tokenizer: str
    network: dict[str, Any]
    causal: bool
    context: int = Field(ge=32)
    kinds: list[Kind]
    centre: float
    spread: float = Field(gt=0)
    weight: float = Field(DEFAULT_WEIGHT, ge=0, le=MAX_WEIGHT)


class Unusable(Exception):
    """Why a scorer can't be used, in a sentence."""


class Reranker:
    """A loaded scorer. May be called from any thread; one call computes at a time."""

    def __init__(self, config: RerankerConfig, scorer: Scorer, codec: Codec) -> None:
        self._config, self._scorer, self._codec = config, scorer, codec
        self._kinds = frozenset(config.kinds)
        self._lock = threading.Lock()

    @property
    def weight(self) -> float:
        """Points of a draft's score for each standard deviation, 0 to MAX_WEIGHT."""
        return self._config.weight

    def reads(self, request: StoryRequest) -> bool:
        """Whether the scorer was trained for what is asked and has a say."""
        return self.weight > 0 and request.kind in self._kinds

    def scores(self, request: StoryRequest, stories: Sequence[tuple[str, str]]) -> list[float]:
        """Return a score for each (title, text): 0 is the model's usual draft, 1 a standard deviation better.

        Blocking, some 10 ms a story on a busy CPU: not for the event loop.
        """
        from engine.backends.torch_scorer import logits_of

        family = Storyteller()
        rows, starts = [], []
        for title, text in stories:
            ids, start = family.story_ids(self._codec, request, title, text)
            rows.append(ids[: self._config.context])
            starts.append(min(start, self._config.context - 1))
        found: list[float] = []
        with self._lock:
            for at in range(0, len(rows), BATCH):
                found += logits_of(self._scorer, rows[at : at + BATCH], starts[at : at + BATCH])
        return [(logit - self._config.centre) / self._config.spread for logit in found]


def tokenizer_digest(directory: Path) -> str:
    """Return the SHA-256 of a model directory's tokenizer.json."""
    return hashlib.sha256((directory / "tokenizer.json").read_bytes()).hexdigest()


def load_reranker(
    folder: Path, directory: Path, family: PromptFamily, codec: Codec, device: str
) -> Reranker | None:
    """Return the scorer in `folder` for the model in `directory`; None where none can be used (logged)."""
    if not folder.is_dir():
        return None
    try:
        if not isinstance(family, Storyteller):
            raise Unusable(f"it reads stories of the storyteller family, not of {family.name}")
        reranker = _checked(folder, directory, codec, device)
    except Unusable as error:
        _log.warning("the reranker is left aside", folder=str(folder), why=str(error))
        return None
    return reranker


def _checked(folder: Path, directory: Path, codec: Codec, device: str) -> Reranker:
    config = _config(folder)
    if config.tokenizer != tokenizer_digest(directory):
        raise Unusable("it was trained with another tokenizer")
    scorer = _network(folder, config, device)
    reranker = Reranker(config, scorer, codec)
    score = reranker.scores(StoryRequest(words=["dinner"]), [("Home", "Tom had dinner. Then he went home.")])
    if not math.isfinite(score[0]):
        raise Unusable("its logits are no numbers")
    return reranker


def _config(folder: Path) -> RerankerConfig:
    try:
        return RerankerConfig.model_validate_json((folder / CONFIG).read_bytes())
    except OSError as error:
        raise Unusable(f"{CONFIG} can't be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Unusable(f"{CONFIG} is not as it must be: {where} {first['msg'].lower()}") from error


def _network(folder: Path, config: RerankerConfig, device: str) -> Scorer:
    if not has_torch():
        raise Unusable(f"it needs PyTorch: {INSTALL}")
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from engine.backends.packed import pack
    from engine.backends.torch_scorer import Scorer

    path = folder / WEIGHTS
    try:
        if path.stat().st_size > MAX_BYTES:
            raise Unusable(f"{WEIGHTS} has more than {MAX_BYTES >> 20} MiB")
        state = load_file(path)
        scorer = Scorer(config.network, causal=config.causal)
        scorer.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    except OSError as error:
        raise Unusable(f"{WEIGHTS} can't be read: {error.strerror or error}") from error
    except (SafetensorError, RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise Unusable(f"{WEIGHTS} does not fit: {str(error).splitlines()[0][:200]}") from error
    scorer = scorer.to(torch.device(device)).eval()
    if device == "cpu":
        pack(scorer)
    return scorer
