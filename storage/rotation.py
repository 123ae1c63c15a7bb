"""Moves a database to a new encryption key while it is in use. Knows nothing of what the values mean.

1. The new key is in the key file (or first in the environment) before any row needs it.
2. The database is told that the new key is current: every later write, by any process, uses it.
3. Rows written with an older key are written anew, a batch at a time. Killed here, the next run goes on.
4. When no row needs an older key, the database forgets that it ever did.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import Column, ColumnElement, LargeBinary, Table, func, or_, select, tuple_, type_coerce
from sqlalchemy.engine import RowMapping

from storage.clock import Clock
from storage.crypto import Cipher
from storage.database import Database
from storage.errors import StorageError
from storage.keys import EnvironmentKeys, KeyFile
from storage.tables import encryption_keys, metadata
from storage.types import EncryptedJson, EncryptedText, Fingerprint

_BATCH = 200

RowKey: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a rotation did: the key now in use, whether it went on with an earlier run, rows written anew."""

    key_id: str
    resumed: bool
    rows: int
    dropped_keys: int


class Rotator:
    """Rotates the key of one database."""

    def __init__(
        self, database: Database, cipher: Cipher, keys: EnvironmentKeys | KeyFile, clock: Clock
    ) -> None:
        self._database = database
        self._cipher = cipher
        self._keys = keys
        self._now = clock

    async def rotate(
        self, *, drop_old: bool = False, tell: Callable[[int], None] = lambda rows: None
    ) -> Rotation:
        """Write every encrypted value with a new key; `tell` is called with the rows done so far.

        `drop_old` also removes the older keys from the key file: other databases and backups that need them
        can't be read afterwards. Raises StorageError.
        """
        resumed = await self._database.uncut(self._switch())
        rows = 0
        for table in metadata.sorted_tables:
            if _encrypted(table):
                after: RowKey | None = None
                while batch := await self._database.uncut(self._batch(table, after)):
                    rows += len(batch)
                    after = batch[-1]
                    tell(rows)
        await self._database.uncut(self._forget_old_keys())
        await self._database.empty_log()
        key_id = self._cipher.current.id
        dropped = self._keys.keep_only([key_id]) if drop_old and isinstance(self._keys, KeyFile) else 0
        return Rotation(key_id.hex(), resumed, rows, dropped)

    async def _switch(self) -> bool:
        """Make a new key current, unless an earlier rotation isn't complete; returns whether that is so."""
        async with self._database.write() as connection:
            lock = select(encryption_keys.c.id).with_for_update()
            known = (await connection.execute(lock)).scalars().all()
            if len(known) > 1:
                return True
            new = self._new_key()
            # The old row goes only when no value needs its key any more.
            await connection.execute(encryption_keys.update().values(current=False))
            await connection.execute(
                encryption_keys.insert().values(id=new, current=True, created_at=self._now())
            )
        self._cipher.use(new)
        return False

    def _new_key(self) -> bytes:
        preferred = self._cipher.reload()[0]
        if preferred.id != self._cipher.current.id:
            # Put there by hand, by a rotation that was killed, or for another database.
            return preferred.id
        if isinstance(self._keys, EnvironmentKeys):
            raise StorageError(
                f"put a new key before the present one in {self._keys.describe()}, as new,old "
                "(`wordtale db new-key` makes one)"
            )
        return self._keys.add().id

    async def _batch(self, table: Table, after: RowKey | None) -> list[RowKey]:
        """Write the next rows anew, in the order of their primary keys; returns those keys, [] at the end."""
        keys = list(table.primary_key.columns)
        query = select(table).where(_stale(table, self._cipher.header)).order_by(*keys).limit(_BATCH)
        if after is not None:
            query = query.where(tuple_(*keys) > tuple_(*after))
        async with self._database.write() as connection:
            rows = (await connection.execute(query.with_for_update())).mappings().all()
            for row in rows:
                this_row = (key == row[key.name] for key in keys)
                await connection.execute(table.update().where(*this_row).values(self._anew(table, row)))
        return [tuple(row[key.name] for key in keys) for row in rows]

    def _anew(self, table: Table, row: RowMapping) -> dict[str, Any]:
        """Return what a row gets written: its texts as they are, its fingerprints made with the new key."""
        values = {column.name: row[column.name] for column in _encrypted(table)}
        for column in table.columns:
            if isinstance(column.type, Fingerprint):
                sources = (row[source] for source in column.type.sources)
                values[column.name] = self._cipher.fingerprint(column.type.context, *sources)
        return values

    async def _forget_old_keys(self) -> None:
        async with self._database.write() as connection:
            for table in metadata.sorted_tables:
                if not _encrypted(table):
                    continue
                query = select(func.count()).select_from(table).where(_stale(table, self._cipher.header))
                if (await connection.execute(query)).scalar_one():
                    raise StorageError(f"{table.name} still needs an older key: run the rotation again")
            await connection.execute(encryption_keys.delete().where(encryption_keys.c.current.is_(False)))


async def read_everything(database: Database) -> int:
    """Decrypt every stored value and return how many rows there were. Raises StorageCorrupt, KeyMissing."""
    count = 0
    async with database.read() as connection:
        for table in metadata.sorted_tables:
            async with connection.stream(select(table)) as rows:
                async for _ in rows:
                    count += 1
    return count


def _encrypted(table: Table) -> list[Column[Any]]:
    return [column for column in table.columns if isinstance(column.type, EncryptedText | EncryptedJson)]


def _stale(table: Table, header: bytes) -> ColumnElement[bool]:
    """The condition for rows with a value that was not written with the key of `header`."""
    stored = (type_coerce(column, LargeBinary) for column in _encrypted(table))
    return or_(*(func.substr(value, 1, len(header), type_=LargeBinary) != header for value in stored))
