"""The engine's commands: `wordtale engine serve`, `wordtale models …`, `wordtale bench …`.

Knows settings and names; everything heavy is imported inside the command that needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from engine.config import EngineSettings

EXIT_SETTINGS = 78
"""EX_CONFIG of sysexits.h: starting again would not help."""

app = typer.Typer(help="The process that owns the models.", no_args_is_help=True, add_completion=False)
models_app = typer.Typer(
    help="Models: list, add, use, roll back.", no_args_is_help=True, add_completion=False
)


@app.callback()
def _engine() -> None:
    """The process that owns the models."""


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    stop_with_parent: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Serve stories over HTTP until SIGTERM or Ctrl-C."""
    settings = _settings(host=host, port=port)
    from engine import logging, serving

    logging.configure(settings.log_level)

    def make_service() -> Any:
        from engine.service import StoryService

        return StoryService(settings)

    try:
        serving.serve(settings, make_service, stop_with_parent=stop_with_parent)
    except serving.ServeError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.code) from error


def _settings(**given: Any) -> EngineSettings:
    """Return the effective settings; leave with a line per setting that is not as it must be."""
    from pydantic import ValidationError

    from engine.config import EngineSettings

    try:
        return EngineSettings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        for one in error.errors():
            name = "_".join(str(part) for part in one["loc"]).upper()
            typer.echo(f"WORDTALE_ENGINE_{name}: {one['msg'].lower()}", err=True)
        raise typer.Exit(EXIT_SETTINGS) from error


class _BenchGroup(TyperGroup):
    """Commands `name` from `engine.bench.<name>.<name>`, imported when they are asked for."""

    names = ("content", "coverage", "latency", "samples")

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Return the names of all benches."""
        return list(self.names)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        """Return the bench of that name, or None."""
        if cmd_name not in self.names:
            return None
        bench = typer.Typer(add_completion=False)
        bench.command(cmd_name)(getattr(import_module(f"engine.bench.{cmd_name}"), cmd_name))
        return typer.main.get_command(bench)


bench_app = typer.Typer(
    cls=_BenchGroup,
    help="Figures: word coverage, content filter, latency; the sample stories.",
    no_args_is_help=True,
    add_completion=False,
)


@bench_app.callback()
def _bench() -> None:
    """Figures: word coverage, content filter, latency; the sample stories."""
