"""From a stage's checkpoint to a model directory with its card. Knows nothing of training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from tokenizers import Tokenizer

from training.card import CardFacts, model_card, source_rows
from training.checkpoint import load_state
from training.config import TrainingSettings
from training.data.prepare import CARD as DATA_CARD
from training.loop import Progress
from training.model import build_model, export_model
from training.recipe import Recipe
from training.runs import Stage, data_folder, tokenizer_file
from training.scorecard.result import Scorecard


def export_stage(
    settings: TrainingSettings,
    stage: Stage,
    out: Path,
    report: Callable[[str], None],
    *,
    recipe: Recipe,
    recipe_name: str = "storyteller",
    scorecard: Path | None = None,
) -> Path:
    """Write the averaged weights of a stage as a model directory, also while the stage is being trained.

    `scorecard` is the JSON of `wordtale train evaluate`. Raises FileNotFoundError without a checkpoint or
    that file, ValueError when weights and recipe differ in shape or the file is no scorecard.
    """
    state = load_state(settings.folder / stage)
    if state is None:
        raise FileNotFoundError(f"no checkpoint in {settings.folder / stage}")
    scores = _scorecard(scorecard) if scorecard is not None else None
    tokenizer = Tokenizer.from_file(str(tokenizer_file(settings)))
    model = build_model(recipe.model, tokenizer, recipe.seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            value = state["average"].get(name)
            if value is None or value.shape != parameter.shape:
                raise ValueError(
                    f"the checkpoint in {settings.folder / stage} has another shape than the recipe"
                )
            parameter.copy_(value)
    progress = Progress(**state["progress"])
    card: dict[str, Any] = {
        "family": recipe.family,
        "version": f"{progress.tokens_total / 1e6:.1f}M-tokens",
        "description": "Wordtale's own storyteller, trained from scratch",
        "parameters": sum(p.numel() for p in model.parameters()),
        "tokens_seen": progress.tokens_total,
        "bits_per_byte": {name: round(value, 4) for name, value in progress.held_out.items()},
        "stage": stage,
    }
    rows = _data_card(data_folder(settings) / DATA_CARD)
    sources = source_rows(rows, recipe)
    card["sources"] = [{"name": row["name"], "licence": row["licence"]} for row in sources]
    if scores is not None:
        card["scorecard"] = scores.short()
    facts = CardFacts(
        card, recipe, recipe_name, stage, progress.tokens, progress.tokens_before, sources, scores
    )
    export_model(model, tokenizer_file(settings), out, card, readme=model_card(facts))
    report(f"wrote {out}: {card['parameters']:,} parameters, {progress.tokens_total:,} tokens seen")
    return out


def _scorecard(path: Path) -> Scorecard:
    try:
        found = Scorecard.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise ValueError(f"{path} holds no scorecard of `wordtale train evaluate`") from error
    if not any(column.kind == "model" for column in found.columns):
        raise ValueError(f"{path} holds no scorecard of a model")
    return found


def _data_card(path: Path) -> list[dict[str, Any]]:
    """Return the rows of the data card: a list, or the value `sources` of an object; none without a card."""
    if not path.exists():
        return []
    value = json.loads(path.read_text(encoding="utf-8"))
    rows = value.get("sources", []) if isinstance(value, dict) else value
    return [row for row in rows if isinstance(row, dict) and "name" in row]
