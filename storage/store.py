"""The store: one object with everything that is kept. Knows nothing of bots, engines or models."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from storage.backup import back_up
from storage.clock import Clock, utc_now
from storage.config import StorageSettings
from storage.crypto import Cipher
from storage.database import Database
from storage.errors import StorageCorrupt, StorageError
from storage.keys import key_source
from storage.repositories.events import Events
from storage.repositories.jobs import Jobs
from storage.repositories.people import People
from storage.repositories.ratings import Ratings
from storage.repositories.settings import Settings
from storage.repositories.stories import Stories
from storage.repositories.words import Words
from storage.rotation import Rotation, Rotator, read_everything
from storage.schema import SchemaKeeper, Upgrade

_SHOWN_PROBLEMS = 5


class Store:
    """Everything that is kept between runs. Each call is one transaction and raises StorageError only."""

    def __init__(self, settings: StorageSettings, clock: Clock, database: Database, cipher: Cipher) -> None:
        self._settings = settings
        self._database = database
        self.upgrade: Upgrade | None = None
        self.people = People(database, cipher, clock)
        self.settings = Settings(database, cipher, clock)
        self.words = Words(database, cipher, clock)
        self.stories = Stories(database, cipher, clock)
        self.ratings = Ratings(database, cipher, clock)
        self.jobs = Jobs(database, cipher, clock)
        self.events = Events(database, cipher, clock)
        self._rotator = Rotator(database, cipher, key_source(settings), clock)

    @classmethod
    async def open(
        cls, settings: StorageSettings | None = None, *, migrate: bool = True, clock: Clock = utc_now
    ) -> Self:
        """Open the database of the settings, making or migrating it where that is due.

        An existing SQLite file is copied before it is migrated. With `migrate` False a database that would
        need it is refused (SchemaMismatch). Raises StorageError.
        """
        settings = settings or StorageSettings()
        keys = key_source(settings)
        cipher = Cipher(keys)
        upgrade = await SchemaKeeper(settings, cipher, keys, clock).open(migrate=migrate)
        store = cls(settings, clock, Database(settings, cipher), cipher)
        store.upgrade = upgrade
        return store

    async def close(self) -> None:
        """Close every connection; the store can't be used afterwards."""
        await self._database.dispose()

    async def __aenter__(self) -> Self:
        """Return the store."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the store."""
        await self.close()

    async def check(self, *, decrypt: bool = False) -> None:
        """Look the file's structure and references over; with `decrypt` also open every stored value.

        Takes time in proportion to the database. Raises StorageCorrupt, KeyMissing.
        """
        await self._database.uncut(self._check(decrypt=decrypt))

    async def _check(self, *, decrypt: bool) -> None:
        if self._database.sqlite:
            async with self._database.read() as connection:
                found = (await connection.exec_driver_sql("PRAGMA integrity_check")).scalars().all()
                if found != ["ok"]:
                    raise StorageCorrupt("the database is damaged: " + "; ".join(found[:_SHOWN_PROBLEMS]))
                if (await connection.exec_driver_sql("PRAGMA foreign_key_check")).first() is not None:
                    raise StorageCorrupt("the database is damaged: rows refer to rows that aren't there")
        if decrypt:
            await read_everything(self._database)

    async def backup(self, target: Path) -> None:
        """Copy the SQLite file to the new file `target` while the store is in use. Raises StorageError."""
        source = self._settings.sqlite_path
        if source is None:
            raise StorageError("copies of a PostgreSQL database are made with pg_dump")
        await asyncio.to_thread(back_up, source, target)

    async def rotate_key(
        self, *, drop_old: bool = False, tell: Callable[[int], None] = lambda rows: None
    ) -> Rotation:
        """Encrypt everything with a new key while the store is in use, going on with a killed run.

        `tell` is called with the rows done so far. `drop_old` removes older keys from the key file: backups
        and other databases that need them can't be read afterwards. Raises StorageError.
        """
        return await self._rotator.rotate(drop_old=drop_old, tell=tell)
