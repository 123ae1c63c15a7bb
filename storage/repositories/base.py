"""What repositories share: the database, the clock, fingerprints. Knows nothing of any subject."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Column, ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.clock import Clock
from storage.crypto import Cipher
from storage.database import Database
from storage.errors import NotFound
from storage.tables import people
from storage.types import Fingerprint

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R", bound="Repository")


class Repository:
    """Base of the repositories. A public method that has begun comes to its end, whatever its caller does."""

    def __init_subclass__(cls) -> None:
        """Keep cancellation out of every public coroutine method."""
        for name, member in list(vars(cls).items()):
            if not name.startswith("_") and inspect.iscoroutinefunction(member):
                setattr(cls, name, _uncut(member))

    def __init__(self, database: Database, cipher: Cipher, clock: Clock) -> None:
        self._database = database
        self._cipher = cipher
        self._now = clock

    def _fingerprint(self, column: Column[Any], *values: str) -> bytes:
        """Return what `column` holds for a new row with these source values."""
        assert isinstance(column.type, Fingerprint)
        return self._cipher.fingerprint(column.type.context, *values)

    def _fingerprints(self, column: Column[Any], *values: str) -> list[bytes]:
        """Return all that `column` may hold for these source values while a key rotation is under way."""
        assert isinstance(column.type, Fingerprint)
        return self._cipher.fingerprints(column.type.context, *values)

    def _matches(self, column: Column[Any], *values: str) -> ColumnElement[bool]:
        """Return the condition that finds the row with these source values, also during a key rotation.

        Ask within the transaction: it is what takes note of a key that another process has rotated.
        """
        return column.in_(self._fingerprints(column, *values))


def _uncut(
    method: Callable[Concatenate[R, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[R, P], Coroutine[Any, Any, T]]:
    async def call(self: R, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._database.uncut(method(self, *args, **kwargs))

    functools.update_wrapper(call, method)
    return call


async def lock_person(connection: AsyncConnection, person_id: str) -> None:
    """Keep other transactions from changing what belongs to this person. Raises NotFound."""
    query = select(people.c.id).where(people.c.id == person_id).with_for_update(key_share=True)
    if (await connection.execute(query)).first() is None:
        raise NotFound(f"no person has the id {person_id}")
