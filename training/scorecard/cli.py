"""`wordtale train evaluate`: the command. Knows options, progress and files; nothing of figures."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

    from training.scorecard.run import Outcome, Plan

Share = Annotated[float | None, typer.Option(min=0.0, max=1.0)]


def evaluate(
    model: Annotated[str, typer.Argument(help="Model directory, or name of a model.")] = "storyteller",
    against: Annotated[str | None, typer.Option(help="A second model to put beside it.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for scorecard.json, the plot and the stories.")] = Path(
        "scorecard"
    ),
    requests: Annotated[int, typer.Option(min=1, help="How many requests of the suite.")] = 200,
    candidates: Annotated[
        int | None, typer.Option(min=1, max=32, help="Drafts a story; the engine's own number without.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first request; the others follow.")] = 1,
    temperature: Annotated[float | None, typer.Option(min=0.0, max=2.0)] = None,
    top_p: Share = None,
    min_p: Share = None,
    repetition_penalty: Annotated[float | None, typer.Option(min=1.0, max=2.0)] = None,
    people: Annotated[
        int, typer.Option(min=10, help="Held-out documents at most, of each source, to compare with.")
    ] = 400,
    sanity: Annotated[bool, typer.Option(help="Measure people's stories spoilt on purpose, too.")] = False,
    judge: Annotated[
        Path | None, typer.Option(help="Model directory that judges order; the shipped one without.")
    ] = None,
    folder: Annotated[Path | None, typer.Option(help="Training folder with the prepared data.")] = None,
    json: Annotated[bool, typer.Option(help="Print the scorecard as JSON instead of the table.")] = False,
) -> None:
    """Measure a model on the frozen suite, beside people's stories and, if asked, a second model."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from engine.schema import Decoding
    from training.config import TrainingSettings
    from training.runs import SHIPPED, data_folder
    from training.scorecard.run import Plan

    settings = TrainingSettings()
    if folder is not None:
        settings.folder = folder
    plan = Plan(
        models=[model, *([against] if against else [])],
        data=data_folder(settings),
        judge=judge or SHIPPED,
        requests=requests,
        seed=seed,
        command=shlex.join(["wordtale", "train", "evaluate", *_arguments()]),
        candidates=candidates,
        decoding=Decoding(
            temperature=temperature, top_p=top_p, min_p=min_p, repetition_penalty=repetition_penalty
        ),
        people=people,
        sanity=sanity,
    )
    _report(_carried_out(plan), out, json=json)


def _arguments() -> list[str]:
    return sys.argv[sys.argv.index("evaluate") + 1 :] if "evaluate" in sys.argv else []


def _carried_out(plan: Plan) -> Outcome:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from engine import logging
    from engine.errors import EngineError
    from training.scorecard.run import evaluate as carry_out

    logging.configure("error")
    bars = Progress(
        TextColumn("{task.description:<34}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
    try:
        with bars:
            return carry_out(plan, lambda name, steps: _Stage(bars, name, steps))
    except (EngineError, OSError, ValueError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error


class _Stage:
    """One bar; calling it moves it by a step."""

    def __init__(self, bars: Bars, name: str, steps: int) -> None:
        self._bars, self._task = bars, bars.add_task(name, total=steps)

    def __call__(self) -> None:
        self._bars.advance(self._task)


def _report(outcome: Outcome, out: Path, *, json: bool) -> None:
    from rich.console import Console

    from training.scorecard.plot import draw
    from training.scorecard.table import table_of
    from training.scorecard.telling import write_told

    card = outcome.card
    out.mkdir(parents=True, exist_ok=True)
    card.write(out / "scorecard.json")
    draw(card, out / "scorecard.png")
    for number, told in enumerate(outcome.told, start=1):
        write_told(out / f"stories-{number}.jsonl", outcome.asked, told)
    if json:
        typer.echo(card.model_dump_json(indent=1))
        return
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(table_of(card))
    for note in card.notes:
        console.print(note, style="yellow")
    console.print(
        "better: ↑ more, ↓ less, ≈ like people; + better and - worse than people beyond chance, ≠ different"
    )
    console.print(f"{out / 'scorecard.json'}, {out / 'scorecard.png'}")
