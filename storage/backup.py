"""Consistent copies of a live SQLite file. Knows nothing of tables, keys or when a copy is due."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from storage.errors import StorageCorrupt, StorageError
from storage.keys import sync_directory
from storage.translation import translated


def back_up(source: Path, target: Path) -> None:
    """Copy the database `source`, log included, to the new file `target` (mode 0600), while others use it.

    The copy appears whole or not at all. Raises StorageError: the target exists, no room, source damaged.
    """
    if target.exists():
        raise StorageError(f"{target} exists already; a backup never replaces a file")
    partial = target.with_name(f".{target.name}.partial")
    with translated():
        try:
            partial.unlink(missing_ok=True)
            partial.touch(mode=0o600)
            _copy(source, partial)
            partial.replace(target)
            sync_directory(target.parent)
        finally:
            partial.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    with (
        closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as original,
        closing(sqlite3.connect(target)) as copy,
    ):
        original.backup(copy)
        # One file that can be moved about, without a log beside it.
        copy.execute("PRAGMA journal_mode=DELETE")
        if copy.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise StorageCorrupt(f"{source} is damaged: no backup was made")
    with target.open("rb") as file:
        os.fsync(file.fileno())
