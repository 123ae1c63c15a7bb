"""Stores on fresh databases: SQLite, and PostgreSQL if WORDTALE_TEST_POSTGRES_URL names one to empty."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from storage_doors import MakeSettings

from storage import StorageSettings, Store

POSTGRES_URL = os.environ.get("WORDTALE_TEST_POSTGRES_URL", "")
BACKENDS = ["sqlite", *(["postgres"] if POSTGRES_URL else [])]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("WORDTALE_STORAGE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def fast_path(tmp_path: Path) -> Iterator[Path]:
    """Return a new folder, in memory where there is one: hundreds of fsyncs would only measure the disk."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory, prefix="wordtale-") as folder:
        yield Path(folder)


@pytest.fixture
def make_settings(fast_path: Path) -> MakeSettings:
    """Return settings of a new SQLite database, with changes."""

    def make(**changes: Any) -> StorageSettings:
        values: dict[str, Any] = {
            "url": f"sqlite:///{fast_path}/data/wordtale.db",
            "key_file": fast_path / "keys" / "storage.key",
        }
        return StorageSettings(**(values | changes))

    return make


@pytest.fixture
def sqlite_settings(make_settings: MakeSettings) -> StorageSettings:
    return make_settings()


@pytest.fixture
async def sqlite_store(sqlite_settings: StorageSettings) -> AsyncIterator[Store]:
    async with await Store.open(sqlite_settings) as store:
        yield store


@pytest.fixture(params=BACKENDS)
async def settings(request: pytest.FixtureRequest, make_settings: MakeSettings) -> StorageSettings:
    if request.param == "sqlite":
        return make_settings()
    found = make_settings(url=POSTGRES_URL)
    engine = create_async_engine(found.url, poolclass=NullPool)
    async with engine.begin() as connection:
        await connection.execute(text("DROP SCHEMA public CASCADE"))
        await connection.execute(text("CREATE SCHEMA public"))
    await engine.dispose()
    return found


@pytest.fixture
async def store(settings: StorageSettings) -> AsyncIterator[Store]:
    async with await Store.open(settings) as opened:
        yield opened


@pytest.fixture
async def person_id(store: Store) -> str:
    return (await store.people.resolve("console", "me")).id
