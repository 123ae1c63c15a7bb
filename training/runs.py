"""Set-up of the stages: which weights, which data, which folder. Knows nothing of the loop's inside.

Folders below the training folder: data/ (documents), tokenizer.json, pretrain/ and finetune/ (checkpoints).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import Tokenizer

from engine.prompts.codec import Codec
from training.checkpoint import load_state
from training.config import TrainingSettings
from training.data.prepare import prepare
from training.data.stream import Stream
from training.loop import Progress, Trainer
from training.machine import detect
from training.model import build_model, export_model, load_model
from training.recipe import Recipe, load_recipe
from training.tokenizer import train_tokenizer

Report = Callable[[str], None]
Stage = Literal["pretrain", "finetune"]
SHIPPED = Path(__file__).parent.parent / "engine" / "models" / "storyteller"


def data_folder(settings: TrainingSettings) -> Path:
    """Return the folder of prepared documents."""
    return settings.folder / "data"


def tokenizer_file(settings: TrainingSettings) -> Path:
    """Return the place of the trained tokenizer."""
    return settings.folder / "tokenizer.json"


def prepare_data(settings: TrainingSettings, report: Report) -> None:
    """Prepare the corpus; raises FileNotFoundError when there is none."""
    prepare(settings.corpus, data_folder(settings), report)


def make_tokenizer(settings: TrainingSettings, recipe: Recipe, *, start: Path | None) -> Path:
    """Put a tokenizer into the training folder: that of the weights started from, else a new one."""
    path = tokenizer_file(settings)
    if path.exists():
        return path
    if start is not None:
        shutil.copyfile(start / "tokenizer.json", path)
        return path
    tokenizer = train_tokenizer(data_folder(settings), recipe.pretrain.mix, recipe.tokenizer.vocabulary)
    part = path.with_suffix(".part")
    tokenizer.save(str(part))
    part.replace(path)
    return path


def _shape(recipe: Recipe, model: Any) -> bool:
    """Whether weights have the recipe's shape, so that training can go on from them."""
    config, wanted = model.config, recipe.model
    return all(
        getattr(config, name) == getattr(wanted, name)
        for name in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    )


def open_stage(
    settings: TrainingSettings,
    stage: Stage,
    report: Report,
    *,
    recipe_name: str = "storyteller",
    start: Path | None = None,
) -> Trainer:
    """Return a trainer for a stage, resumed from its folder when that holds a checkpoint.

    Otherwise it starts from the weights in `start`, or afresh. Raises FileNotFoundError without data and
    ValueError when `start` has another shape than the recipe.
    """
    recipe = load_recipe(recipe_name)
    tokenizer = Tokenizer.from_file(str(make_tokenizer(settings, recipe, start=start)))
    before = 0
    if start is None:
        model = build_model(recipe.model, tokenizer, recipe.seed)
    else:
        model, card = load_model(start)
        if not _shape(recipe, model):
            raise ValueError(f"the weights in {start} have another shape than recipe {recipe_name}")
        before = int(card.get("tokens_seen", 0))
    checkpoint = load_state(settings.folder / stage)
    if checkpoint is not None:
        before = int(checkpoint["progress"]["tokens_before"])
    codec = Codec(tokenizer)
    settings_of_stage = recipe.pretrain if stage == "pretrain" else recipe.finetune
    stream = Stream(
        data_folder(settings),
        settings_of_stage.mix,
        codec,
        batch_tokens=settings_of_stage.batch_tokens,
        context=recipe.model.context,
        # Another seed for each start, so that a later run does not repeat the order of the one before.
        seed=recipe.seed + before,
    )
    trainer = Trainer(
        model,
        codec,
        stream,
        settings_of_stage,
        folder=settings.folder / stage,
        data=data_folder(settings),
        machine=detect(settings.threads, compile_network=settings.compile),
        context=recipe.model.context,
        tokens_before=before,
        report=report,
    )
    origin = "its checkpoint" if trainer.resumed else (str(start) if start else "fresh weights")
    report(f"{stage} starts from {origin} on {trainer.machine} at {trainer.progress.tokens_total:,} tokens")
    return trainer


def export_stage(
    settings: TrainingSettings, stage: Stage, out: Path, report: Report, *, recipe_name: str = "storyteller"
) -> Path:
    """Write the averaged weights of a stage as a model directory, also while the stage is being trained.

    Raises FileNotFoundError without a checkpoint.
    """
    state = load_state(settings.folder / stage)
    if state is None:
        raise FileNotFoundError(f"no checkpoint in {settings.folder / stage}")
    recipe = load_recipe(recipe_name)
    tokenizer = Tokenizer.from_file(str(tokenizer_file(settings)))
    model = build_model(recipe.model, tokenizer, recipe.seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(state["average"][name])
    progress = Progress(**state["progress"])
    card = {
        "family": recipe.family,
        "version": f"{progress.tokens_total / 1e6:.1f}M-tokens",
        "description": "Wordtale's own storyteller, trained from scratch",
        "parameters": sum(p.numel() for p in model.parameters()),
        "tokens_seen": progress.tokens_total,
        "bits_per_byte": {name: round(value, 4) for name, value in progress.held_out.items()},
        "stage": stage,
    }
    export_model(model, tokenizer_file(settings), out, card)
    report(f"wrote {out}: {card['parameters']:,} parameters, {progress.tokens_total:,} tokens seen")
    return out
