"""`wordtale bench engine`: our engine against others, same weights, same prompts, in one run.

Ours is the story service in process, with word keeping and content filter; the others get the same prompts,
settings and numbers of tokens. Knows options and output; nothing of how anything is measured.
"""

from __future__ import annotations

import json as jsonlib
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.bench.engines.race import SHORT_NAMES, Course
from engine.config import EngineSettings
from engine.errors import EngineError
from engine.registry import Registry

FULL = Course(counts=(1, 8, 32, 64), rounds=3, least_stories=8, sequential_seconds=20.0)
QUICK = Course(counts=(1, 8, 32), rounds=2, least_stories=4, sequential_seconds=2.0)
DEVICES = ("cpu", "cuda")
ALL = ",".join(SHORT_NAMES)


def engine(
    quick: Annotated[bool, typer.Option("--quick", help="Short stories, few of them: a minute.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    model: Annotated[str | None, typer.Option(help="Model to write with; the default without.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int | None, typer.Option(min=1, help="Compute threads of each engine.")] = None,
    engines: Annotated[str, typer.Option(help="Which to compare ours with, separated by commas.")] = ALL,
    requests: Annotated[str | None, typer.Option(help="Requests at once, for example 1,8,32,64.")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds to take the median of.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the JSON object here too.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw a picture (PNG) here.")] = None,
    into: Annotated[
        Path | None, typer.Option("--markdown", help="Put the tables between this file's marks.")
    ] = None,
) -> None:
    """Compare our engine with transformers and CTranslate2 on the same weights, prompts and threads."""
    _need("psutil", "wordtale[bench]")
    if plot is not None:
        _need("matplotlib", "wordtale[train]")
    _check_places(out, plot, into)
    from engine.bench.engines.measurement import Plan, measure

    if device not in DEVICES:
        raise typer.BadParameter(f"--device is {' or '.join(DEVICES)}")
    course, names = _course(QUICK if quick else FULL, requests, rounds), _names(engines)
    settings = EngineSettings()
    try:
        card = Registry(settings).card(model)
        if card.encodes:
            raise typer.BadParameter(f"{card.name} is no causal model; only such models are compared")
        count = threads or settings.compute_threads()
        report = measure(Plan(card, device, count, names, course, quick), _say)
    except (EngineError, RuntimeError, TimeoutError) as error:
        typer.echo(f"Not measured: {error}", err=True)
        raise typer.Exit(1) from error
    _keep(report, out=out, plot=plot, into=into)
    _print(report, json=json)


def _need(library: str, extra: str) -> None:
    if find_spec(library) is None:
        typer.echo(f"{library} is not installed: pip install '{extra}'", err=True)
        raise typer.Exit(1)


def _check_places(out: Path | None, plot: Path | None, into: Path | None) -> None:
    """Find out before minutes of measuring whether the report can be kept."""
    from engine.bench.engines.report import between_marks

    for path in (out, plot):
        if path is not None and not path.parent.is_dir():
            raise typer.BadParameter(f"there is no folder {path.parent}")
    if into is not None:
        try:
            between_marks(into, "")
        except (OSError, ValueError) as error:
            raise typer.BadParameter(str(error)) from error


def _course(course: Course, requests: str | None, rounds: int | None) -> Course:
    counts = course.counts
    if requests is not None:
        if not all(part.strip().isdigit() and int(part) for part in requests.split(",")):
            raise typer.BadParameter("--requests takes numbers from 1 on, separated by commas")
        counts = tuple(sorted({int(part) for part in requests.split(",")}))
    return replace(course, counts=counts, rounds=rounds or course.rounds)


def _names(engines: str) -> list[str]:
    asked = {part.strip() for part in engines.split(",")}
    unknown = sorted(asked - set(SHORT_NAMES))
    if unknown:
        raise typer.BadParameter(f"--engines takes {ALL}; not {', '.join(unknown)}")
    # Ours says how long each story is, so it is never left out.
    return [name for short, all_of in SHORT_NAMES.items() if short in {"ours", *asked} for name in all_of]


def _say(line: str) -> None:
    if sys.stderr.isatty():
        typer.echo(line, err=True)


def _keep(report: dict[str, Any], *, out: Path | None, plot: Path | None, into: Path | None) -> None:
    if out is not None:
        out.write_text(jsonlib.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    if plot is not None:
        from engine.bench.engines.plot import draw

        draw(report, plot)
    if into is not None:
        from engine.bench.engines.report import markdown, write_between_marks

        write_between_marks(into, markdown(report))


def _print(report: dict[str, Any], *, json: bool) -> None:
    if json:
        typer.echo(jsonlib.dumps(report, ensure_ascii=False))
        return
    from rich.console import Console

    from engine.bench.engines.report import show

    show(report, Console(width=None if sys.stdout.isatty() else 160))
