"""Column types: encrypted text and JSON, keyed fingerprints, moments in UTC. Knows nothing of the tables."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import DateTime, LargeBinary
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from storage.crypto import FINGERPRINT_BYTES, Cipher

# Column types are shared by all stores of a process; the dialect is what tells their engines apart.
_ciphers: WeakKeyDictionary[Dialect, Cipher] = WeakKeyDictionary()


def set_cipher(dialect: Dialect, cipher: Cipher) -> None:
    """Let engines of `dialect` read and write encrypted columns with `cipher`."""
    _ciphers[dialect] = cipher


def _to_bytes(text: str) -> bytes:
    # Half an emoji, as some clients send it, is kept as it came.
    return text.encode(errors="surrogatepass")


def _to_text(stored: bytes) -> str:
    return stored.decode(errors="surrogatepass")


class EncryptedText(TypeDecorator[str]):
    """Text that is encrypted on its way into the database; `context` must be "table.column"."""

    impl = LargeBinary
    cache_ok = True

    def __init__(self, context: str) -> None:
        super().__init__()
        self.context = context

    def process_bind_param(self, value: str | None, dialect: Dialect) -> bytes | None:
        """Encrypt on the way in."""
        return None if value is None else _ciphers[dialect].encrypt(_to_bytes(value), self.context)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> str | None:
        """Decrypt on the way out."""
        return None if value is None else _to_text(_ciphers[dialect].decrypt(value, self.context))


class EncryptedJson(TypeDecorator[Any]):
    """A JSON value that is encrypted on its way into the database; None is SQL NULL."""

    impl = LargeBinary
    cache_ok = True

    def __init__(self, context: str) -> None:
        super().__init__()
        self.context = context

    def process_bind_param(self, value: Any, dialect: Dialect) -> bytes | None:
        """Encrypt on the way in."""
        if value is None:
            return None
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return _ciphers[dialect].encrypt(_to_bytes(text), self.context)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> Any:
        """Decrypt on the way out."""
        return None if value is None else json.loads(_to_text(_ciphers[dialect].decrypt(value, self.context)))


class Fingerprint(TypeDecorator[bytes]):
    """A keyed hash of the `sources` columns of its row, by which the row is found without decrypting."""

    impl = LargeBinary(FINGERPRINT_BYTES)
    cache_ok = True

    def __init__(self, context: str, sources: tuple[str, ...]) -> None:
        super().__init__()
        self.context = context
        self.sources = sources


class Moment(TypeDecorator[datetime]):
    """A point in time; always aware and in UTC on our side."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive times; SQLite stores the UTC wall clock."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment needs its time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the time its zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
