"""`wordtale train reranker`, `rejection` and `reranker-readers`. Knows nothing of how they work inside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from training.config import TrainingSettings
from training.terminal import fail, say

Model = Annotated[Path, typer.Option(help="Model directory of the storyteller that drafts are chosen for.")]
Folder = Annotated[Path, typer.Option(help="Where what is written stays; the same command goes on there.")]
Scorer = Annotated[Path | None, typer.Option("--reranker", help="Scorer to use; default: the model's own.")]
Data = Annotated[Path | None, typer.Option(help="Prepared documents; default: those of the training folder.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `wordtale train`."""
    app.command("reranker")(reranker)
    app.command("rejection")(rejection)
    app.command("reranker-readers")(readers)


def _data(data: Path | None) -> Path:
    settings = TrainingSettings()
    return data or getattr(settings, "data", None) or settings.folder / "data"


def reranker(
    model: Model,
    folder: Folder,
    data: Data = None,
    tokens: Annotated[int, typer.Option(min=1, help="Padded tokens to train on.")] = 1_200_000,
    stories: Annotated[int, typer.Option(min=1, help="Written stories that the model tells again.")] = 1000,
    layers: Annotated[int, typer.Option(min=1, help="Layers taken from the model, at most.")] = 4,
    causal: Annotated[bool, typer.Option(help="Each token sees what stands before it only.")] = False,
) -> None:
    """Train the learned scorer of a model into FOLDER/reranker and print how well it tells stories apart."""
    from engine.errors import ModelRefused
    from training.reranker.making import make_reranker

    try:
        figures = make_reranker(
            model,
            folder,
            _data(data),
            tokens=tokens,
            stories=stories,
            layers=layers,
            causal=causal,
            report=say,
        )
    except (FileNotFoundError, ValueError, ModelRefused) as error:
        raise fail(error) from error
    table = Table("worse version", "pairs", "written one preferred", title="Held-out stories")
    for kind, share in figures["accuracy"].items():
        table.add_row(kind, str(figures["pairs"][kind]), f"{share:.1%}")
    Console().print(table)
    say(f"{folder / 'reranker'}: {figures['parameters']:,} parameters, trained in {figures['seconds']:.0f} s")


def rejection(
    model: Model,
    folder: Folder,
    stories: Annotated[int, typer.Option(min=1, help="Fresh requests to tell stories for.")],
    data: Data = None,
    keep: Annotated[
        float, typer.Option(min=0.0001, max=1.0, help="Share of the drafts that is kept.")
    ] = 0.05,
    candidates: Annotated[int, typer.Option(min=1, max=32, help="Drafts of each request.")] = 8,
    seed: Annotated[int, typer.Option(help="Which requests.")] = 1,
    reranker: Scorer = None,
) -> None:
    """Tell stories for fresh requests and keep the best as documents of the source wordtale_best."""
    from engine.errors import ModelRefused
    from training.reranker.rejection import collect

    try:
        card = collect(
            model,
            folder,
            _data(data),
            stories=stories,
            keep=keep,
            candidates=candidates,
            seed=seed,
            reranker=reranker,
            report=say,
        )
    except (FileNotFoundError, ValueError, ModelRefused) as error:
        raise fail(error) from error
    say(json.dumps(card, indent=1))


def readers(
    file: Annotated[
        Path, typer.Argument(help="Judgements: JSON lines with title, text, request, sense 1-5.")
    ],
    model: Model,
    reranker: Scorer = None,
    write: Annotated[bool, typer.Option("--write", help="Give the scorer that weight.")] = False,
) -> None:
    """Print how well the scorer and each feature predict the readers' sense, and the weight to give it."""
    from engine.errors import ModelRefused
    from training.reranker.readers import judge

    try:
        table = judge(file, model, reranker, write=write)
    except (FileNotFoundError, ValueError, ModelRefused) as error:
        raise fail(error) from error
    say(table)
