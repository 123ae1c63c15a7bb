"""Set-up of the stages: which weights, which data, which folder. Knows nothing of the loop's inside.

Folders below the training folder: data/ (documents), tokenizer.json, pretrain/ and finetune/ (checkpoints).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from tokenizers import Tokenizer

from engine.prompts.codec import Codec
from training.checkpoint import STATE, load_state, lock_folder
from training.config import TrainingSettings
from training.data.examples import DEFAULT_SHARES, WordShares
from training.data.prepare import prepare
from training.data.stream import Stream
from training.loop import Trainer
from training.machine import detect
from training.mirror import Mirror
from training.mirror_callback import MirrorCallback
from training.model import build_model, load_model
from training.recipe import Recipe
from training.tokenizer import train_tokenizer

Report = Callable[[str], None]
Stage = Literal["pretrain", "finetune"]
TOKENIZER = "tokenizer.json"
SHIPPED = Path(__file__).parent.parent / "engine" / "models" / "storyteller"


def data_folder(settings: TrainingSettings) -> Path:
    """Return the folder of prepared documents."""
    return settings.data or settings.folder / "data"


def tokenizer_file(settings: TrainingSettings) -> Path:
    """Return the place of the trained tokenizer."""
    return settings.folder / TOKENIZER


def prepare_data(settings: TrainingSettings, report: Report) -> None:
    """Prepare the corpus; raises FileNotFoundError when there is none."""
    prepare(settings.corpus, data_folder(settings), report, meaning=settings.meaning)


def make_tokenizer(settings: TrainingSettings, recipe: Recipe, *, start: Path | None) -> Path:
    """Put a tokenizer into the training folder: that of the weights started from, else a new one.

    Raises ValueError when the folder has one already and `start` was made with another.
    """
    path = tokenizer_file(settings)
    if path.exists():
        if start is not None and _differ(path, start / TOKENIZER):
            raise ValueError(
                f"the weights in {start} have another tokenizer than {path}: use another --folder, "
                "or move that tokenizer and what was trained with it out of the way"
            )
        return path
    if start is not None:
        shutil.copyfile(start / TOKENIZER, path)
        return path
    tokenizer = train_tokenizer(data_folder(settings), recipe.pretrain.mix, recipe.tokenizer.vocabulary)
    part = path.with_suffix(".part")
    tokenizer.save(str(part))
    part.replace(path)
    return path


def _differ(one: Path, other: Path) -> bool:
    return bool(Tokenizer.from_file(str(one)).to_str() != Tokenizer.from_file(str(other)).to_str())


def _check_shape(recipe: Recipe, shape: Any, origin: str) -> None:
    """Raise ValueError unless weights of this shape (a config or a ModelRecipe) fit the recipe's."""
    for name in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"):
        has, wanted = getattr(shape, name), getattr(recipe.model, name)
        if has != wanted:
            raise ValueError(f"{origin} has another shape than the recipe: {name} {has}, not {wanted}")


def _mirror(settings: TrainingSettings, stage: Stage) -> Mirror | None:
    if settings.mirror is None:
        return None
    return Mirror(f"{settings.mirror.rstrip('/')}/{stage}", settings.mirror_options)


def _restore(mirror: Mirror, settings: TrainingSettings, folder: Path, report: Report) -> None:
    """Fill an empty stage folder from the mirror; what can't be read is said and costs nothing else."""
    try:
        found = mirror.pull(folder)
    # A file system raises what it likes; an unreachable mirror must not keep training from starting.
    except Exception as error:
        text = " ".join(str(error).split())[:200] or type(error).__name__
        report(f"warning: the mirror {mirror} can't be read, so nothing is taken from it: {text}")
        return
    if found is None:
        return
    report(f"took step {found.step:,} from the mirror {mirror}")
    if not tokenizer_file(settings).exists() and (folder / TOKENIZER).exists():
        shutil.copyfile(folder / TOKENIZER, tokenizer_file(settings))


def open_stage(
    settings: TrainingSettings,
    stage: Stage,
    report: Report,
    *,
    recipe: Recipe,
    start: Path | None = None,
) -> Trainer:
    """Return a trainer for a stage, resumed from its folder or its mirror when one holds a checkpoint.

    Otherwise it starts from the weights in `start`, or afresh. Raises FileNotFoundError without data,
    ValueError when weights have another shape or tokenizer than the recipe and folder, or the mirror's URL
    can't be used, and BusyError while another run works in the folder.
    """
    folder = settings.folder / stage
    mirror = _mirror(settings, stage)
    lock = lock_folder(folder)
    try:
        if mirror is not None and not (folder / STATE).exists():
            _restore(mirror, settings, folder, report)
        return _open_locked(settings, stage, report, recipe, start, lock, mirror)
    except BaseException:
        os.close(lock)
        raise


def _weights(
    recipe: Recipe, tokenizer: Tokenizer, start: Path | None, checkpoint: dict[str, Any] | None
) -> tuple[Any, int]:
    """Return the model to train and the tokens it has seen before this stage."""
    if checkpoint is None and start is not None:
        model, card = load_model(start)
        _check_shape(recipe, model.config, f"the model in {start}")
        return model, int(card.get("tokens_seen", 0))
    model = build_model(recipe.model, tokenizer, recipe.seed)
    if checkpoint is None:
        return model, 0
    for name, value in model.state_dict().items():
        saved = checkpoint["model"].get(name)
        if saved is None or saved.shape != value.shape:
            raise ValueError(
                "the checkpoint has another shape or vocabulary than the recipe and its tokenizer"
            )
    return model, int(checkpoint["progress"]["tokens_before"])


def _open_locked(
    settings: TrainingSettings,
    stage: Stage,
    report: Report,
    recipe: Recipe,
    start: Path | None,
    lock: int,
    mirror: Mirror | None,
) -> Trainer:
    folder = settings.folder / stage
    checkpoint = load_state(folder)
    origin = start if checkpoint is None else None
    tokenizer_path = make_tokenizer(settings, recipe, start=origin)
    tokenizer = Tokenizer.from_file(str(tokenizer_path))
    model, before = _weights(recipe, tokenizer, origin, checkpoint)
    shutil.copyfile(tokenizer_path, folder / TOKENIZER)
    codec = Codec(tokenizer)
    stage_recipe = recipe.stage(stage)
    words = stage_recipe.words
    stream = Stream(
        data_folder(settings),
        stage_recipe.mix,
        codec,
        batch_tokens=stage_recipe.batch_tokens,
        context=recipe.model.context,
        # Another seed for each start, so that a later run does not repeat the order of the one before.
        seed=recipe.seed + before,
        shares=WordShares(**words.model_dump()) if words is not None else DEFAULT_SHARES,
    )
    trainer = Trainer(
        model,
        codec,
        stream,
        stage_recipe,
        folder=folder,
        data=data_folder(settings),
        machine=detect(settings.threads, compile_network=settings.compile),
        context=recipe.model.context,
        tokens_before=before,
        report=report,
        lock=lock,
        checkpoint=checkpoint,
        callbacks=[MirrorCallback(mirror, report)] if mirror is not None else [],
    )
    whence = "its checkpoint" if trainer.resumed else (str(start) if start else "fresh weights")
    report(f"{stage} starts from {whence} on {trainer.machine} at {trainer.progress.tokens_total:,} tokens")
    return trainer
