"""What every command of the training room says and how it fails. Knows nothing of what the commands do."""

from __future__ import annotations

import sys

import typer


def say(line: str) -> None:
    """Print a line at once, also into a pipe or a log."""
    typer.echo(line)
    sys.stdout.flush()


def fail(error: Exception | str) -> typer.Exit:
    """Print the error on standard error and return what ends the command with exit status 1."""
    typer.echo(f"error: {error}", err=True)
    return typer.Exit(1)
