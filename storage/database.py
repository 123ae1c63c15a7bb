"""Connections and transactions. Knows nothing of the tables beyond the one that names the current key.

SQLite: one writing connection and a few reading ones. Writers of this process stand in line (first come,
first served) and begin with BEGIN IMMEDIATE, so a read-modify-write can't lose an update; readers see a
snapshot and never wait for writers. PostgreSQL: one pool, row locks where a read-modify-write needs them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, TypeVar

from sqlalchemy import URL, Select, event, make_url, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from storage.config import StorageSettings
from storage.crypto import Cipher
from storage.errors import StorageBusy, StorageCorrupt, StorageError, StorageUnavailable
from storage.tables import encryption_keys
from storage.translation import translate, translated
from storage.types import set_cipher

T = TypeVar("T")

_READERS = 4
_SERVER_CONNECTIONS = 8
_PAGE_BYTES = 4096
# SQLite sleeps longer the longer it waits; many short waits are fairer between processes than one long one.
_SPIN_MS = 20
_MIGRATION_WAIT_MS = 60_000

_current_key = select(encryption_keys.c.id).where(encryption_keys.c.current)


class Database:
    """The engines of one database, with its transactions."""

    def __init__(self, settings: StorageSettings, cipher: Cipher) -> None:
        self.sqlite = settings.sqlite_path is not None
        self._cipher = cipher
        self._wait_seconds = settings.busy_timeout_ms / 1000
        self._write_line = asyncio.Lock()
        self._refusals = 0
        self._closed = False
        self._under_way: set[asyncio.Future[Any]] = set()
        if self.sqlite:
            self._reader = sqlite_engine(settings, writes=False)
            self._writer = sqlite_engine(settings, writes=True)
        else:
            self._reader = self._writer = postgres_engine(settings)
        for engine in (self._reader, self._writer):
            set_cipher(engine.dialect, cipher)

    async def uncut(self, work: Coroutine[Any, Any, T]) -> T:
        """Await `work`, which goes on to its end when the caller is cancelled.

        A connection that is dropped in the midst of a statement can keep SQLite's write lock for seconds.
        """
        task = asyncio.ensure_future(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def dispose(self) -> None:
        """Close every connection, after the calls that are under way."""
        while self._under_way:
            await asyncio.wait(self._under_way)
        self._closed = True
        await self._reader.dispose()
        if self._writer is not self._reader:
            await self._writer.dispose()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """One read-only transaction: everything in it is seen as of one moment. Raises StorageError."""
        async with self._connection(self._reader) as connection:
            if self.sqlite:
                await connection.exec_driver_sql("BEGIN")
            else:
                await connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            await self._follow_key(connection, _current_key)
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """One writing transaction, committed at the end of the block; all or nothing. Raises StorageError."""
        if not self.sqlite:
            async with self._connection(self._writer) as connection:
                await self._follow_key(connection, _current_key.with_for_update(read=True))
                yield connection
                await connection.commit()
            return
        refusals = self._refusals
        async with self._write_line:
            if refusals != self._refusals:
                raise StorageBusy("the database has been in use by somebody else for too long")
            async with self._connection(self._writer) as connection:
                try:
                    await begin_immediate(connection, self._wait_seconds)
                except StorageBusy:
                    # Who waited behind this writer has waited as long: answer them all now.
                    self._refusals += 1
                    raise
                await self._follow_key(connection, _current_key)
                yield connection
                await connection.commit()

    async def empty_log(self) -> bool:
        """Move SQLite's write-ahead log into the database and cut it to nothing; False if readers hold it."""
        if not self.sqlite:
            return True
        deadline = monotonic() + self._wait_seconds
        async with self._write_line, self._connection(self._writer) as connection:
            while True:
                row = (await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")).one()
                if not row[0]:
                    return True
                if monotonic() > deadline:
                    return False

    @asynccontextmanager
    async def _connection(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        if self._closed:
            raise StorageError("the store is closed")
        with translated():
            async with engine.connect() as connection:
                try:
                    yield connection
                except (DBAPIError, StorageError) as error:
                    if isinstance(translate(error), StorageCorrupt | StorageUnavailable):
                        # What the connection has cached may be wrong; the next call gets a fresh one.
                        await connection.invalidate()
                    raise

    async def _follow_key(self, connection: AsyncConnection, query: Select[bytes]) -> None:
        """Use the key that the database says is current, which another process may have rotated."""
        key_id = (await connection.execute(query)).scalar_one_or_none()
        if key_id is None:
            # A server that waited for a rotation's commit found the old row changed: now the new one shows.
            key_id = (await connection.execute(query)).scalar_one()
        self._cipher.use(key_id)


async def begin_immediate(connection: AsyncConnection, wait_seconds: float) -> None:
    """Take SQLite's write lock, waiting up to `wait_seconds`. Raises StorageBusy."""
    deadline = monotonic() + wait_seconds
    while True:
        try:
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
        except DBAPIError as error:
            problem = translate(error)
            if not isinstance(problem, StorageBusy) or monotonic() > deadline:
                raise problem from error
        else:
            return


def engine_url(settings: StorageSettings) -> URL:
    """Return the URL that the driver is given; an SQLite path is passed as it is, whatever is in it."""
    path = settings.sqlite_path
    if path is None or "uri=true" in settings.url:
        return make_url(settings.url)
    return URL.create("sqlite+aiosqlite", database=str(path))


def sqlite_engine(settings: StorageSettings, *, writes: bool) -> AsyncEngine:
    """Return an engine on the SQLite file; transactions are begun by hand."""
    wait = min(_SPIN_MS, settings.busy_timeout_ms) if writes else settings.busy_timeout_ms
    pragmas = [
        f"busy_timeout={wait}",
        "foreign_keys=ON",
        "synchronous=FULL",
        "secure_delete=ON",
        f"query_only={'OFF' if writes else 'ON'}",
    ]
    if writes and settings.max_size:
        pragmas.append(f"max_page_count={settings.max_size // _PAGE_BYTES}")
    engine = create_async_engine(
        engine_url(settings),
        pool_size=1 if writes else _READERS,
        max_overflow=0,
        pool_timeout=settings.busy_timeout_ms / 1000,
        hide_parameters=True,
        connect_args={"isolation_level": None},
    )
    _set_pragmas(engine, pragmas)
    return engine


def postgres_engine(settings: StorageSettings, **options: Any) -> AsyncEngine:
    """Return an engine on the PostgreSQL server; waits for locks end after the busy time-out."""
    wait_seconds = settings.busy_timeout_ms / 1000
    pool = options or {"pool_size": _SERVER_CONNECTIONS, "pool_timeout": wait_seconds, "pool_pre_ping": True}
    try:
        return create_async_engine(
            engine_url(settings),
            hide_parameters=True,
            connect_args={
                "timeout": max(5.0, wait_seconds),
                "server_settings": {
                    "application_name": "wordtale",
                    # Who stands in line for a row waits twice: for the turn, then for the row.
                    "lock_timeout": str(max(1, settings.busy_timeout_ms // 2)),
                    "timezone": "UTC",
                },
            },
            **pool,
        )
    except ModuleNotFoundError as error:
        raise StorageUnavailable("PostgreSQL needs a driver: pip install 'wordtale[postgres]'") from error


def maintenance_engine(settings: StorageSettings) -> AsyncEngine:
    """Return an engine for migrations: one connection at a time, foreign keys off, patient with others."""
    if settings.sqlite_path is None:
        patient = settings.model_copy(update={"busy_timeout_ms": _MIGRATION_WAIT_MS})
        return postgres_engine(patient, poolclass=NullPool)
    engine = create_async_engine(
        engine_url(settings),
        poolclass=NullPool,
        hide_parameters=True,
        connect_args={"isolation_level": None},
    )
    # Rebuilding a table drops it, which with foreign keys on deletes the rows that refer to it.
    _set_pragmas(
        engine,
        [
            f"busy_timeout={settings.busy_timeout_ms}",
            "foreign_keys=OFF",
            "synchronous=FULL",
            "secure_delete=ON",
        ],
    )
    return engine


def _set_pragmas(engine: AsyncEngine, pragmas: list[str]) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def on_connect(connection: DBAPIConnection, _record: object) -> None:
        cursor = connection.cursor()
        try:
            for pragma in pragmas:
                cursor.execute(f"PRAGMA {pragma}")
        finally:
            cursor.close()
