"""Brings a database to the schema and the key that this code works with. Knows nothing of what rows mean.

Everything happens in one transaction under the database's own lock, so that two processes starting at once
take turns, and a failing or killed migration leaves the database as it was.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, inspect, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.backup import back_up
from storage.clock import Clock
from storage.config import StorageSettings
from storage.crypto import Cipher, Key
from storage.database import begin_immediate, maintenance_engine
from storage.errors import KeyMissing, SchemaMismatch, StorageBusy, StorageCorrupt, StorageUnavailable
from storage.keys import EnvironmentKeys, KeyFile
from storage.migrations import HEAD
from storage.tables import encryption_keys
from storage.translation import translate, translated

if TYPE_CHECKING:
    from alembic.config import Config

_MIGRATION_WAIT_SECONDS = 60.0
_RETRY_SECONDS = 0.02
_ADVISORY_LOCK = 0x576F726474616C65
_KEPT_BACKUPS = 3
_MIGRATIONS = Path(__file__).with_name("migrations")

log = logging.getLogger("wordtale.storage")


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What opening did: revisions before and after (None = no schema), and the copy that was made first."""

    before: str | None
    after: str
    backup: Path | None


class SchemaKeeper:
    """Opens, upgrades and downgrades one database."""

    def __init__(
        self,
        settings: StorageSettings,
        cipher: Cipher,
        keys: EnvironmentKeys | KeyFile,
        clock: Clock,
        head: str = HEAD,
        extra_revisions: Path | None = None,
    ) -> None:
        self._settings = settings
        self._cipher = cipher
        self._keys = keys
        self._clock = clock
        self._head = head
        self._extra_revisions = extra_revisions

    async def open(self, *, migrate: bool = True) -> Upgrade:
        """Make the database ready: file, journal, schema, key. Raises StorageError.

        With `migrate` False a database that would need it is refused with SchemaMismatch.
        """
        _make_file(self._settings, make=migrate)
        engine = maintenance_engine(self._settings)
        try:
            with translated():
                async with engine.connect() as connection:
                    await self._use_write_ahead_log(connection)
                    before = await connection.run_sync(_revision)
                    if not migrate and before != self._head:
                        raise SchemaMismatch(
                            f"the database is at revision {before}, this Wordtale needs {self._head}: "
                            "run `wordtale db upgrade`"
                        )
                    key_id = await self._stored_key(connection) if before == self._head else None
                    await connection.rollback()
                    backup = None
                    if key_id is None:
                        backup, key_id = await self._set_up(connection)
                    self._cipher.use(key_id)
                    return Upgrade(before, self._head, backup)
        finally:
            await engine.dispose()

    async def downgrade(self, revision: str) -> None:
        """Take the schema back to `revision` ("base" = nothing left). What it holds is lost."""
        engine = maintenance_engine(self._settings)
        try:
            with translated():
                async with engine.connect() as connection:
                    await self._lock(connection)
                    await connection.run_sync(self._alembic, "downgrade", revision)
                    await connection.commit()
        finally:
            await engine.dispose()

    async def differences(self) -> list[Any]:
        """Return how the database differs from the tables of the code, as Alembic sees it; [] = not."""
        engine = maintenance_engine(self._settings)
        try:
            with translated():
                async with engine.connect() as connection:
                    return await connection.run_sync(_differences)
        finally:
            await engine.dispose()

    async def _use_write_ahead_log(self, connection: AsyncConnection) -> None:
        if self._settings.sqlite_path is None:
            return
        if (await connection.exec_driver_sql("PRAGMA journal_mode")).scalar() == "wal":
            return
        deadline = monotonic() + _MIGRATION_WAIT_SECONDS
        while True:
            try:
                mode = (await connection.exec_driver_sql("PRAGMA journal_mode=WAL")).scalar()
            except DBAPIError as error:
                # SQLite doesn't wait here by itself when another process starts at the same moment.
                if not isinstance(translate(error), StorageBusy) or monotonic() > deadline:
                    raise
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                if mode != "wal":
                    log.warning("no write-ahead log on this file system (%s): writers block readers", mode)
                return

    async def _lock(self, connection: AsyncConnection) -> None:
        if self._settings.sqlite_path is not None:
            await begin_immediate(connection, _MIGRATION_WAIT_SECONDS)
        else:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ADVISORY_LOCK})

    async def _set_up(self, connection: AsyncConnection) -> tuple[Path | None, bytes]:
        """Migrate and choose the key under the lock; another process may have done it by then."""
        await self._lock(connection)
        backup = None
        before, empty = await connection.run_sync(_revision), await connection.run_sync(_is_empty)
        if before != self._head:
            self._refuse_unknown(before)
            if not empty:
                backup = await self._back_up(before)
            log.info("migrating the database from revision %s to %s", before, self._head)
            await connection.run_sync(self._alembic, "upgrade", self._head)
            await self._check_references(connection)
        key_id = await self._stored_key(connection)
        if key_id is None:
            key_id = self._first_key().id
            await connection.execute(
                encryption_keys.insert().values(id=key_id, current=True, created_at=self._clock())
            )
        await connection.commit()
        return backup, key_id

    def _first_key(self) -> Key:
        if isinstance(self._keys, KeyFile):
            return self._keys.create()
        keys = self._keys.read()
        if not keys:
            raise KeyMissing(f"{self._keys.describe()} is empty")
        return keys[0]

    async def _stored_key(self, connection: AsyncConnection) -> bytes | None:
        query = select(encryption_keys.c.id).where(encryption_keys.c.current)
        return (await connection.execute(query)).scalar_one_or_none()

    async def _back_up(self, revision: str | None) -> Path | None:
        path = self._settings.sqlite_path
        if path is None:
            return None
        stamp = self._clock().strftime("%Y%m%dT%H%M%SZ")
        target = path.with_name(f"{path.name}.{revision or 'unversioned'}.{stamp}.bak")
        await asyncio.to_thread(back_up, path, target)
        for old in sorted(path.parent.glob(f"{path.name}.*.bak"), key=_age)[:-_KEPT_BACKUPS]:
            old.unlink(missing_ok=True)
        return target

    async def _check_references(self, connection: AsyncConnection) -> None:
        if self._settings.sqlite_path is None:
            return
        if (await connection.exec_driver_sql("PRAGMA foreign_key_check")).first() is not None:
            raise StorageCorrupt("the migration would leave rows that refer to nothing; it was undone")

    def _refuse_unknown(self, revision: str | None) -> None:
        from alembic.script import ScriptDirectory
        from alembic.util import CommandError

        try:
            ScriptDirectory.from_config(alembic_config(self._extra_revisions)).get_revision(
                revision or "base"
            )
        except CommandError:
            raise SchemaMismatch(
                f"the database is at revision {revision}, which only a newer Wordtale knows"
            ) from None

    def _alembic(self, connection: Connection, action: str, revision: str) -> None:
        from alembic import command

        config = alembic_config(self._extra_revisions)
        config.attributes["connection"] = connection
        getattr(command, action)(config, revision)


def alembic_config(extra_revisions: Path | None = None) -> Config:
    """Return Alembic's configuration; `extra_revisions` is a folder of revisions beyond ours."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    folders = [_MIGRATIONS / "versions", *([extra_revisions] if extra_revisions else [])]
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", "\n".join(str(folder) for folder in folders))
    return config


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    value: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return value


def _is_empty(connection: Connection) -> bool:
    return not inspect(connection).get_table_names()


def _differences(connection: Connection) -> list[Any]:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from storage.tables import metadata

    context = MigrationContext.configure(
        connection, opts={"compare_type": True, "compare_server_default": True}
    )
    return list(compare_metadata(context, metadata))


def _age(path: Path) -> float:
    return path.stat().st_mtime


def _make_file(settings: StorageSettings, *, make: bool) -> None:
    """Make a new SQLite file readable by its owner only; SQLite gives its log files the same mode."""
    path = settings.sqlite_path
    if path is None:
        return
    if path.exists():
        try:
            path.open("rb").close()
        except OSError as error:
            raise StorageUnavailable(f"{path} can't be opened: {error.strerror}") from error
        return
    if not make:
        raise StorageUnavailable(f"there is no database at {path}")
    with translated():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
