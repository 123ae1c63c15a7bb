"""`wordtale train …`: the commands of the training room. Knows nothing of how stages work inside."""

from __future__ import annotations

import signal
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.config import TrainingSettings
from training.data.cli import register
from training.reranker.cli import register as register_reranker
from training.scorecard.cli import evaluate
from training.terminal import fail, say

if TYPE_CHECKING:
    from training.loop import Trainer
    from training.runs import Stage

app = typer.Typer(help="Prepare data, train and evaluate models.", no_args_is_help=True)
register_reranker(app)
app.command()(evaluate)
register(app)

Corpus = Annotated[Path | None, typer.Option(help="Folder with the source texts.")]
Folder = Annotated[Path | None, typer.Option(help="Where data, tokenizer and checkpoints stand.")]
Tokens = Annotated[int | None, typer.Option(help="Stop after this many tokens of the stage.")]
Start = Annotated[Path | None, typer.Option("--from", help="Model directory to start from.")]
RecipeName = Annotated[str, typer.Option("--recipe", help="Recipe name or TOML file.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="A recipe's value, such as finetune.muon_lr=0.003.")
]
MirrorUrl = Annotated[
    str | None, typer.Option("--mirror", help="URL (file://, s3://, gs://) that checkpoints are copied to.")
]


def _settings(
    corpus: Path | None = None, folder: Path | None = None, mirror: str | None = None
) -> TrainingSettings:
    settings = TrainingSettings()
    if corpus is not None:
        settings.corpus = corpus
    if folder is not None:
        settings.folder = folder
    if mirror is not None:
        settings.mirror = mirror
    settings.folder.mkdir(parents=True, exist_ok=True)
    return settings


@app.command()
def tokenizer(folder: Folder = None, recipe: RecipeName = "storyteller", overrides: Overrides = None) -> None:
    """Train the tokenizer on the prepared data."""
    from training.recipe import load_recipe
    from training.runs import make_tokenizer

    try:
        chosen = load_recipe(recipe, overrides or ())
        say(str(make_tokenizer(_settings(folder=folder), chosen, start=None)))
    except (FileNotFoundError, ValueError) as error:
        raise fail(error) from error


@app.command()
def pretrain(
    folder: Folder = None,
    tokens: Tokens = None,
    start: Start = None,
    recipe: RecipeName = "storyteller",
    overrides: Overrides = None,
    mirror: MirrorUrl = None,
) -> None:
    """Train at a constant rate until stopped; goes on from its checkpoint."""
    _run("pretrain", _settings(folder=folder, mirror=mirror), tokens, start, recipe, overrides)


@app.command()
def finetune(
    folder: Folder = None,
    tokens: Tokens = None,
    start: Start = None,
    recipe: RecipeName = "storyteller",
    overrides: Overrides = None,
    mirror: MirrorUrl = None,
) -> None:
    """Train on the graded stories with a falling rate; goes on from its checkpoint."""
    _run("finetune", _settings(folder=folder, mirror=mirror), tokens, start, recipe, overrides)


def _train(trainer: Trainer, settings: TrainingSettings, tokens: int | None) -> None:
    """Train; SIGTERM and Ctrl-C end it with a checkpoint."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: trainer.stop())
    trainer.train(
        max_tokens=tokens, save_seconds=settings.save_seconds, evaluate_seconds=settings.evaluate_seconds
    )


def _run(
    stage: Stage,
    settings: TrainingSettings,
    tokens: int | None,
    start: Path | None,
    recipe: str,
    overrides: list[str] | None,
) -> None:
    from training.checkpoint import BusyError, SaveError
    from training.loop import DivergedError
    from training.recipe import load_recipe
    from training.runs import open_stage

    try:
        chosen = load_recipe(recipe, overrides or ())
        trainer = open_stage(settings, stage, say, recipe=chosen, start=start)
        with closing(trainer):
            _train(trainer, settings, tokens)
    except (FileNotFoundError, ValueError, DivergedError, BusyError, SaveError) as error:
        raise fail(error) from error


@app.command()
def background(
    corpus: Corpus = None,
    folder: Folder = None,
    start: Annotated[
        Path | None, typer.Option("--from", help="Model directory to start from; the shipped one if not set.")
    ] = None,
    recipe: RecipeName = "storyteller",
    overrides: Overrides = None,
    mirror: MirrorUrl = None,
) -> None:
    """Go on with the default model for as long as it is left to run: prepare, then pretrain.

    Starts from its own checkpoint, else from the shipped weights, else afresh.
    """
    from training.runs import SHIPPED, prepare_data

    settings = _settings(corpus, folder, mirror)
    try:
        prepare_data(settings, say)
    except FileNotFoundError as error:
        raise fail(error) from error
    if start is None and (SHIPPED / "model.safetensors").exists():
        start = SHIPPED
    _run("pretrain", settings, None, start, recipe, overrides)


@app.command()
def ablate(
    plan: Annotated[str, typer.Argument(help="TOML file with the variants, or a name such as ablations.")],
    start: Start = None,
    folder: Folder = None,
    data: Annotated[Path | None, typer.Option(help="Prepared documents.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Groups or names to run; all if not set.")] = None,
    tokens: Annotated[int | None, typer.Option(help="Tokens of every variant, in place of its own.")] = None,
    overrides: Overrides = None,
) -> None:
    """Train variants of a stage one after another; write a table of their held-out figures.

    Goes on where it was stopped: a variant that is done is not trained again.
    """
    from training.ablation import run_plan
    from training.checkpoint import BusyError, SaveError
    from training.loop import DivergedError

    settings = _settings(folder=folder)
    if data is not None:
        settings.data = data
    settings.mirror = None
    try:
        done = run_plan(
            plan,
            settings,
            _train,
            say,
            start=start,
            only=only or (),
            tokens=tokens,
            overrides=overrides or (),
        )
    except (FileNotFoundError, ValueError, DivergedError, BusyError, SaveError) as error:
        raise fail(error) from error
    say(str(done))


@app.command()
def export(
    out: Annotated[Path, typer.Argument(help="Model directory to write.")],
    stage: Annotated[str, typer.Option(help="pretrain or finetune.")] = "finetune",
    folder: Folder = None,
    recipe: RecipeName = "storyteller",
    overrides: Overrides = None,
    scorecard: Annotated[
        Path | None, typer.Option(help="JSON that `train evaluate` wrote, for the card.")
    ] = None,
) -> None:
    """Write the averaged weights of a stage as a model directory, with its model card."""
    from training.export import export_stage
    from training.recipe import load_recipe

    try:
        which: Stage = "pretrain" if stage == "pretrain" else "finetune"
        chosen = load_recipe(recipe, overrides or ())
        export_stage(
            _settings(folder=folder), which, out, say, recipe=chosen, recipe_name=recipe, scorecard=scorecard
        )
    except (FileNotFoundError, ValueError) as error:
        raise fail(error) from error
