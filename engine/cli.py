"""The engine's commands: `wordtale engine serve`, `wordtale models …`, `wordtale bench …`.

Knows settings and names; everything heavy is imported inside the command that needs it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from engine.client import EngineClient
    from engine.config import EngineSettings
    from engine.registry import ModelCard, Registry
    from engine.schema import Activation

T = TypeVar("T")

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
    backend: Annotated[str | None, typer.Option(help="What decodes: auto, onnx, torch or openai.")] = None,
    url: Annotated[str | None, typer.Option(help="Backend openai: address of the completion server.")] = None,
    remote_model: Annotated[
        str | None, typer.Option(help="Backend openai: the server's name of the model, if it has several.")
    ] = None,
    dialect: Annotated[
        str | None,
        typer.Option(help="Backend openai: auto (ask it), openai, vllm, llamacpp or transformers."),
    ] = None,
    stop_with_parent: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Serve stories over HTTP until SIGTERM or Ctrl-C."""
    settings = _settings(
        host=host,
        port=port,
        backend=backend,
        backend_url=url,
        backend_model=remote_model,
        backend_dialect=dialect,
    )
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


@models_app.command("list")
def list_models(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
) -> None:
    """List the models; the star marks the one used when a request names none."""
    with _said_plainly():
        registry = _registry()
        cards, default = registry.cards(), registry.default()
    if as_json:
        fields = ("name", "family", "version", "parameters", "context", "description")
        rows = [{field: getattr(card, field) for field in fields} for card in cards]
        typer.echo(
            json.dumps([row | {"default": row["name"] == default} for row in rows], ensure_ascii=False)
        )
        return
    width = max((len(card.name) for card in cards), default=0)
    for card in cards:
        mark, size = "*" if card.name == default else " ", card.parameters / 1e6
        typer.echo(
            f"{mark} {card.name:<{width}}  {card.version:<10} {size:6.1f} M  {card.description}".rstrip()
        )
    if not cards:
        typer.echo(f"There is no model yet; added ones live in {registry.folder}.")


@models_app.command()
def add(
    source: Annotated[
        Path, typer.Argument(help="Directory of a transformers model with safetensors weights.")
    ],
    name: Annotated[str | None, typer.Option(help="Name to ask for it by; default: the directory's.")] = None,
    family: Annotated[
        str | None, typer.Option(help="Prompt format; default: what the directory says.")
    ] = None,
    link: Annotated[bool, typer.Option(help="Link the directory instead of copying it.")] = False,
) -> None:
    """Add a model that can then be asked for by name, also of an engine that runs already."""
    with _said_plainly():
        card = _registry().add(source, name=name, family=family, link=link)
        known = _known_names()
    typer.echo(
        f"{card.name} is added ({card.family}); make it the default with: wordtale models use {card.name}"
    )
    if known is not None and card.name not in known:
        typer.echo(f"The engine at {_address()} has another folder of models and can't see it.")


@models_app.command()
def use(name: Annotated[str, typer.Argument(help="Model to answer with when a request names none.")]) -> None:
    """Make a model the default, now and after a restart; an engine that runs swaps at once."""
    with _said_plainly():
        swapped = _told(lambda engine: engine.activate(name))
        card = _registry().use(name) if swapped is None else None
    _say_default(swapped, card, "now")


@models_app.command()
def rollback() -> None:
    """Go back to the default model before this one; an engine that runs swaps at once."""
    with _said_plainly():
        swapped = _told(lambda engine: engine.rollback())
        card = _registry().rollback() if swapped is None else None
    _say_default(swapped, card, "again")


def _say_default(swapped: Activation | None, card: ModelCard | None, when: str) -> None:
    if swapped is not None:
        typer.echo(
            f"{swapped.model} {swapped.model_version} answers {when}: "
            f"the engine at {_address()} swapped in {swapped.seconds:.1f} s."
        )
        if not swapped.kept:
            typer.echo("A restart will not serve it: see “kept” in docs/engine-api.md.")
    if card is not None:
        typer.echo(f"{card.name} {card.version} is the default {when}.")
        typer.echo(f"No engine is ready at {_address()}: the next one to start takes it.")


@models_app.command()
def remove(name: Annotated[str, typer.Argument(help="Added model to delete.")]) -> None:
    """Delete an added model that is not the default."""
    with _said_plainly():
        _registry().remove(name)
    typer.echo(f"{name} is deleted.")


def _address() -> str:
    from engine.address import EngineAddress

    return EngineAddress.configured().url


def _told(ask: Callable[[EngineClient], Awaitable[T]]) -> T | None:
    """Ask the engine at the configured address; None when none is ready there. Raises EngineError."""
    import asyncio

    from engine.address import EngineAddress
    from engine.client import EngineClient

    _settings()

    async def tell() -> T | None:
        address = EngineAddress.configured()
        async with EngineClient(address.url, token=address.token) as engine:
            return await ask(engine) if await engine.ready() else None

    return asyncio.run(tell())


def _known_names() -> set[str] | None:
    """Return the names of the models that a running engine knows, None when it can't be asked."""
    from engine.errors import EngineError

    try:
        models = _told(lambda engine: engine.models())
    except EngineError:
        return None
    return {model.name for model in models} if models is not None else None


def _registry() -> Registry:
    from engine.registry import Registry

    return Registry(_settings())


@contextmanager
def _said_plainly() -> Iterator[None]:
    """Turn an expected failure into a line and exit status 1."""
    from engine.errors import EngineError

    try:
        yield
    except EngineError as error:
        typer.echo(error.message, err=True)
        raise typer.Exit(1) from error
    except OSError as error:
        typer.echo(f"{error.filename}: {(error.strerror or 'failed').lower()}.", err=True)
        raise typer.Exit(1) from error


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
    """Commands `name` from `engine/bench/name.py`, imported when they are asked for."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Return the names of all benches."""
        return sorted(path.stem for path in (Path(__file__).parent / "bench").glob("[!_]*.py"))

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        """Return the bench of that name, or None."""
        if cmd_name not in self.list_commands(ctx):
            return None
        bench = typer.Typer(add_completion=False)
        bench.command(cmd_name)(getattr(import_module(f"engine.bench.{cmd_name}"), cmd_name))
        return typer.main.get_command(bench)


bench_app = typer.Typer(
    cls=_BenchGroup,
    help="Figures: word coverage, content filter, the engine against others; the sample stories.",
    no_args_is_help=True,
    add_completion=False,
)


@bench_app.callback()
def _bench() -> None:
    """Figures: word coverage, content filter, the engine against others; the sample stories."""
    from engine import logging

    # Figures go to standard output, alone.
    logging.configure("warning")
