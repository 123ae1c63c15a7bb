"""`wordtale db`: looking after the database from a terminal. Knows nothing of what is stored in it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from storage.config import StorageSettings
    from storage.store import Store

T = TypeVar("T")

app = typer.Typer(
    help="Look after the database: upgrade, check, back up, rotate its key.", no_args_is_help=True
)


def _settings() -> StorageSettings:
    from pydantic import ValidationError

    from storage.config import StorageSettings

    try:
        return StorageSettings()
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            name = "_".join(str(part) for part in problem["loc"]).upper()
            typer.echo(f"WORDTALE_STORAGE_{name}: {problem['msg']}", err=True)
        raise typer.Exit(2) from None


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; an expected failure is one sentence on stderr and exit code 1."""
    from storage.errors import StorageError

    try:
        return asyncio.run(work)
    except StorageError as error:
        typer.echo(f"wordtale db: {error}", err=True)
        raise typer.Exit(1) from None


async def _open(*, migrate: bool = False) -> Store:
    from storage.store import Store

    return await Store.open(_settings(), migrate=migrate)


@app.command()
def path() -> None:
    """Print where the database is."""
    settings = _settings()
    typer.echo(settings.sqlite_path or settings.public_url)


@app.command()
def upgrade() -> None:
    """Make the database, or bring it to the schema of this version (a copy is made first)."""

    async def work() -> None:
        async with await _open(migrate=True) as store:
            done = store.upgrade
            if done is None or done.before == done.after:
                typer.echo(f"already at revision {done.after if done else ''}")
                return
            typer.echo(f"upgraded from {done.before or 'nothing'} to revision {done.after}")
            if done.backup:
                typer.echo(f"the database as it was: {done.backup}")

    _run(work())


@app.command()
def check() -> None:
    """Check structure and references, and that every stored value can be read."""

    async def work() -> None:
        async with await _open() as store:
            await store.check(decrypt=True)

    _run(work())
    typer.echo("the database is sound")


@app.command()
def backup(
    target: Annotated[Path, typer.Argument(metavar="PATH", help="new file, or a folder for it")],
) -> None:
    """Copy the database to PATH while it is in use. The key is not in it: keep a copy of that elsewhere."""
    settings = _settings()
    if target.is_dir() and settings.sqlite_path:
        target /= settings.sqlite_path.name

    async def work() -> None:
        async with await _open() as store:
            await store.backup(target)

    _run(work())
    typer.echo(f"copied to {target}")


@app.command("rotate-key")
def rotate_key(
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="remove older keys from the key file; old backups need them")
    ] = False,
) -> None:
    """Encrypt everything with a new key, while the database is in use; run again after an interruption."""

    def tell(rows: int) -> None:
        if sys.stderr.isatty():
            typer.echo(f"\r{rows} rows", err=True, nl=False)

    async def work() -> None:
        async with await _open() as store:
            done = await store.rotate_key(drop_old=drop_old, tell=tell)
        began = "went on with an earlier rotation: " if done.resumed else ""
        typer.echo(f"{began}{done.rows} rows now use key {done.key_id}")
        if done.dropped_keys:
            typer.echo(f"removed {done.dropped_keys} older keys from the key file")

    _run(work())


@app.command("new-key")
def new_key() -> None:
    """Print a fresh key, fit for WORDTALE_STORAGE_KEY."""
    from storage.crypto import Key

    typer.echo(Key.new().to_text())
