"""Turns the drivers' errors into ours. Knows nothing of transactions or tables."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Iterator

from sqlalchemy.exc import DBAPIError, InterfaceError, SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from storage.errors import (
    NotFound,
    StorageBusy,
    StorageCorrupt,
    StorageError,
    StorageFull,
    StorageReadOnly,
    StorageUnavailable,
)


class Duplicate(StorageError):
    """A row with the same unique value was written at the same moment; for use within storage only."""


_BUSY = (StorageBusy, "the database is in use by somebody else; try again in a moment")
_FULL = (StorageFull, "there is no room left to write to the database")
_READ_ONLY = (StorageReadOnly, "the database can't be written: it is read-only")
_CORRUPT = (StorageCorrupt, "the database is damaged")
_UNAVAILABLE = (StorageUnavailable, "the database can't be reached")
_NO_SUCH_ROW = (NotFound, "no row has the id that was referred to")
_DUPLICATE = (Duplicate, "the same row was written twice at once")

# Primary result codes, https://www.sqlite.org/rescode.html
_SQLITE = {
    sqlite3.SQLITE_BUSY: _BUSY,
    sqlite3.SQLITE_LOCKED: _BUSY,
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_CORRUPT: _CORRUPT,
    sqlite3.SQLITE_NOTADB: _CORRUPT,
    sqlite3.SQLITE_CANTOPEN: _UNAVAILABLE,
    sqlite3.SQLITE_IOERR: _UNAVAILABLE,
    sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY: _NO_SUCH_ROW,
    sqlite3.SQLITE_CONSTRAINT_UNIQUE: _DUPLICATE,
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY: _DUPLICATE,
}

# Codes or classes (two characters), https://www.postgresql.org/docs/current/errcodes-appendix.html
_POSTGRES = {
    "23503": _NO_SUCH_ROW,
    "23505": _DUPLICATE,
    "25006": _READ_ONLY,
    "40": _BUSY,
    "53100": _FULL,
    "53": _BUSY,
    "55P03": _BUSY,
    "08": _UNAVAILABLE,
    "28": _UNAVAILABLE,
    "3D": _UNAVAILABLE,
    "57P": _UNAVAILABLE,
    "XX001": _CORRUPT,
    "XX002": _CORRUPT,
}


_SYSTEM = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: _READ_ONLY,
    errno.EACCES: _READ_ONLY,
    errno.EPERM: _READ_ONLY,
}


def _sqlite_error(error: sqlite3.Error) -> StorageError:
    code = getattr(error, "sqlite_errorcode", None) or 0
    kind, message = _SQLITE.get(code) or _SQLITE.get(code & 0xFF) or (StorageError, "the database failed")
    name = getattr(error, "sqlite_errorname", "") or type(error).__name__
    return kind(f"{message} ({name})")


def _postgres_error(code: str) -> StorageError:
    found = _POSTGRES.get(code) or _POSTGRES.get(code[:3]) or _POSTGRES.get(code[:2])
    kind, message = found or (StorageError, "the database failed")
    return kind(f"{message} (SQLSTATE {code})")


def translate(error: BaseException) -> StorageError:
    """Return our error for one of SQLAlchemy, of a driver or of the network."""
    origin = error.orig if isinstance(error, StatementError) and error.orig is not None else error
    if isinstance(origin, StorageError):
        return origin
    if isinstance(origin, sqlite3.Error):
        return _sqlite_error(origin)
    code = getattr(origin, "sqlstate", None)
    if isinstance(code, str):
        return _postgres_error(code)
    if isinstance(error, PoolTimeout):
        return StorageBusy(_BUSY[1])
    if isinstance(origin, OSError):
        kind, message = _SYSTEM.get(origin.errno or 0, _UNAVAILABLE)
        return kind(f"{message} ({origin})")
    if isinstance(error, InterfaceError) or _is_disconnect(error):
        return StorageUnavailable(f"{_UNAVAILABLE[1]} ({type(origin).__name__})")
    return StorageError(f"the database failed ({type(origin).__name__})")


def _is_disconnect(error: BaseException) -> bool:
    return isinstance(error, DBAPIError) and error.connection_invalidated


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Let only our errors out of the block (and a caller's bugs, such as a TypeError, as they are)."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        if isinstance(error, StatementError) and isinstance(error.orig, TypeError | ValueError):
            raise error.orig from None
        raise translate(error) from error
