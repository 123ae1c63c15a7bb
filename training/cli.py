"""`wordtale train …`: the commands of the training room. Knows nothing of how stages work inside."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from training.config import TrainingSettings
from training.scorecard.cli import evaluate
from training.reranker.cli import register as register_reranker

if TYPE_CHECKING:
    from training.loop import Trainer

app = typer.Typer(help="Prepare data, train and evaluate models.", no_args_is_help=True)
app.command()(evaluate)
register_reranker(app)

Corpus = Annotated[Path | None, typer.Option(help="Folder with the source texts.")]
Folder = Annotated[Path | None, typer.Option(help="Where data, tokenizer and checkpoints stand.")]
Tokens = Annotated[int | None, typer.Option(help="Stop after this many tokens of the stage.")]
Start = Annotated[Path | None, typer.Option("--from", help="Model directory to start from.")]
RecipeName = Annotated[str, typer.Option("--recipe", help="Recipe name or TOML file.")]


def _settings(corpus: Path | None = None, folder: Path | None = None) -> TrainingSettings:
    settings = TrainingSettings()
    if corpus is not None:
        settings.corpus = corpus
    if folder is not None:
        settings.folder = folder
    settings.folder.mkdir(parents=True, exist_ok=True)
    return settings


def _say(line: str) -> None:
    typer.echo(line)
    sys.stdout.flush()


def _fail(error: Exception) -> typer.Exit:
    typer.echo(f"error: {error}", err=True)
    return typer.Exit(1)


@app.command("prepare")
def prepare_command(corpus: Corpus = None, folder: Folder = None) -> None:
    """Read, clean, deduplicate and label the corpus; print the data card."""
    from training.data.prepare import prepare
    from training.runs import data_folder

    settings = _settings(corpus, folder)
    try:
        cards = prepare(settings.corpus, data_folder(settings), _say)
    except FileNotFoundError as error:
        raise _fail(error) from error
    table = Table("source", "licence", "documents", "held out", "words", "refused", "same", title="Data card")
    for card in cards:
        counts = (card.documents, card.held_out, card.words, card.refused, card.duplicates)
        table.add_row(card.name, card.licence, *(f"{count:,}" for count in counts))
    Console().print(table)


@app.command()
def tokenizer(folder: Folder = None, recipe: RecipeName = "storyteller") -> None:
    """Train the tokenizer on the prepared data."""
    from training.recipe import load_recipe
    from training.runs import make_tokenizer

    _say(str(make_tokenizer(_settings(folder=folder), load_recipe(recipe), start=None)))


@app.command()
def pretrain(
    folder: Folder = None, tokens: Tokens = None, start: Start = None, recipe: RecipeName = "storyteller"
) -> None:
    """Train at a constant rate until stopped; goes on from its checkpoint."""
    _run("pretrain", folder, tokens, start, recipe)


@app.command()
def finetune(
    folder: Folder = None, tokens: Tokens = None, start: Start = None, recipe: RecipeName = "storyteller"
) -> None:
    """Train on the graded stories with a falling rate; goes on from its checkpoint."""
    _run("finetune", folder, tokens, start, recipe)


def _train(trainer: Trainer, settings: TrainingSettings, tokens: int | None) -> None:
    """Train; SIGTERM and Ctrl-C end it with a checkpoint."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: trainer.stop())
    trainer.train(
        max_tokens=tokens, save_seconds=settings.save_seconds, evaluate_seconds=settings.evaluate_seconds
    )


def _run(stage: str, folder: Path | None, tokens: int | None, start: Path | None, recipe: str) -> None:
    from training.checkpoint import BusyError
    from training.loop import DivergedError
    from training.runs import open_stage

    settings = _settings(folder=folder)
    try:
        trainer = open_stage(
            settings, "pretrain" if stage == "pretrain" else "finetune", _say, recipe_name=recipe, start=start
        )
        _train(trainer, settings, tokens)
    except (FileNotFoundError, ValueError, DivergedError, BusyError) as error:
        raise _fail(error) from error


@app.command()
def background(corpus: Corpus = None, folder: Folder = None) -> None:
    """Go on with the default model for as long as it is left to run: prepare, then pretrain.

    Starts from its own checkpoint, else from the shipped weights, else afresh.
    """
    from training.checkpoint import BusyError
    from training.runs import SHIPPED, open_stage, prepare_data

    settings = _settings(corpus, folder)
    try:
        prepare_data(settings, _say)
        start = SHIPPED if (SHIPPED / "model.safetensors").exists() else None
        trainer = open_stage(settings, "pretrain", _say, start=start)
    except (FileNotFoundError, ValueError, BusyError) as error:
        raise _fail(error) from error
    _train(trainer, settings, None)


@app.command()
def export(
    out: Annotated[Path, typer.Argument(help="Model directory to write.")],
    stage: Annotated[str, typer.Option(help="pretrain or finetune.")] = "finetune",
    folder: Folder = None,
    recipe: RecipeName = "storyteller",
) -> None:
    """Write the averaged weights of a stage as a model directory."""
    from training.runs import Stage, export_stage

    try:
        which: Stage = "pretrain" if stage == "pretrain" else "finetune"
        export_stage(_settings(folder=folder), which, out, _say, recipe_name=recipe)
    except FileNotFoundError as error:
        raise _fail(error) from error
