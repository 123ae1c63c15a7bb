"""What only a server can do to us. Runs when WORDTALE_TEST_POSTGRES_URL names a database to empty."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from conftest import POSTGRES_URL
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from storage import StorageBusy, StorageError, StorageReadOnly, StorageSettings, StorageUnavailable, Store

OURS = "FROM pg_stat_activity WHERE application_name = 'wordtale'"

pytestmark = pytest.mark.skipif(not POSTGRES_URL, reason="WORDTALE_TEST_POSTGRES_URL is not set")


@pytest.fixture
async def admin(store: Store, settings: StorageSettings) -> AsyncIterator[AsyncConnection]:
    if settings.sqlite_path:
        pytest.skip("for servers")
    engine = create_async_engine(settings.url, poolclass=NullPool)
    async with engine.connect() as connection:
        yield connection
    await engine.dispose()


async def test_a_locked_row_is_said_to_be_busy_soon(
    store: Store, person_id: str, admin: AsyncConnection
) -> None:
    await admin.execute(text("SELECT * FROM people FOR UPDATE"))
    began = time.monotonic()
    calls = [store.settings.update(person_id, {"n": n}) for n in range(5)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StorageBusy] * 5
    assert time.monotonic() - began < 2.0
    assert await store.settings.get(person_id) == {}
    await admin.rollback()
    assert await store.settings.update(person_id, {"n": 1}) == {"n": 1}


async def test_a_server_that_went_read_only_says_so(
    settings: StorageSettings, admin: AsyncConnection
) -> None:
    name = settings.url.rsplit("/", 1)[1]
    await admin.execute(text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'))
    await admin.commit()
    try:
        async with await Store.open(settings) as reader:
            with pytest.raises(StorageReadOnly):
                await reader.events.add("x", None, {})
            assert await reader.events.recent("x") == []
    finally:
        await admin.execute(text("SET default_transaction_read_only = off"))
        await admin.execute(text(f'ALTER DATABASE "{name}" RESET default_transaction_read_only'))
        await admin.commit()


async def test_lost_connections_are_made_anew(store: Store, person_id: str, admin: AsyncConnection) -> None:
    others = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'wordtale'"
    )
    for number in range(3):
        await admin.execute(others)
        await admin.commit()
        assert await store.settings.update(person_id, {"n": number}) == {"n": number}


async def test_a_connection_lost_in_mid_write_is_unavailable_and_the_next_call_works(
    store: Store, person_id: str, admin: AsyncConnection
) -> None:
    await admin.execute(text("SELECT * FROM people FOR UPDATE"))
    writing = asyncio.create_task(store.settings.update(person_id, {"n": 1}))
    pids: list[int] = []
    async with asyncio.timeout(5):
        while not pids:
            # Within a transaction the server shows the same statistics again unless told not to.
            await admin.execute(text("SELECT pg_stat_clear_snapshot()"))
            waiting = text(f"SELECT pid {OURS} AND wait_event_type = 'Lock'")
            pids = list((await admin.execute(waiting)).scalars())
    for pid in pids:
        await admin.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
    await admin.rollback()
    with pytest.raises(StorageUnavailable):
        await writing
    assert await store.settings.update(person_id, {"n": 2}) == {"n": 2}


async def test_copies_are_made_with_the_servers_own_tools(store: Store, admin: AsyncConnection) -> None:
    from pathlib import Path

    with pytest.raises(StorageError, match="pg_dump"):
        await store.backup(Path("copy.db"))
