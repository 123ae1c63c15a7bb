"""Which terminal chats are alive: each holds a lock file while it runs, and any death lets go of it.

So a chat can tell the stories that a killed one left behind, without telling those of a chat that still runs.
Knows files; knows nothing of stories.
"""

from __future__ import annotations

import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


class Session:
    """One running terminal chat."""

    def __init__(self, folder: Path) -> None:
        """`folder` holds the lock files of all chats of this user; it is made when missing."""
        self.id = secrets.token_hex(8)
        self._folder = folder
        self._file: IO[bytes] | None = None
        # Without a place for locks the chat works all the same; only what it leaves may be told twice.
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            self._file = _locked(folder / f"{self.id}.lock")

    @contextmanager
    def adopting(self, other: str) -> Iterator[bool]:
        """Yield whether the chat with that id is over; if so, what it left is ours alone for now."""
        path = self._folder / f"{other}.lock"
        known = other != self.id and re.fullmatch(r"[0-9a-f]{16}", other)
        file = _locked(path) if known else None
        try:
            yield file is not None
        finally:
            if file is not None:
                _released(path, file)

    def close(self) -> None:
        """Say that this chat is over."""
        if self._file is not None:
            _released(self._folder / f"{self.id}.lock", self._file)
            self._file = None


def _locked(path: Path) -> IO[bytes] | None:
    """Return the file, locked for this process; None when another process holds it."""
    file: IO[bytes] | None = None
    try:
        file = path.open("ab")
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        if file is not None:
            file.close()
        return None
    return file


def _released(path: Path, file: IO[bytes]) -> None:
    file.close()
    path.unlink(missing_ok=True)
