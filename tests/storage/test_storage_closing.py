"""The end: a store that is closed, or that nobody closed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from storage_doors import raw

from storage import StorageError, StorageSettings, Store


async def test_a_closed_store_says_so(sqlite_settings: StorageSettings) -> None:
    store = await Store.open(sqlite_settings)
    await store.close()
    await store.close()
    with pytest.raises(StorageError, match="closed"):
        await store.events.recent("x")
    with pytest.raises(StorageError, match="closed"):
        await store.events.add("x", None, {})


async def test_closing_waits_for_calls_under_way(sqlite_settings: StorageSettings) -> None:
    store = await Store.open(sqlite_settings)
    writes = [asyncio.create_task(store.events.add("x", None, {"n": n})) for n in range(20)]
    await asyncio.sleep(0)
    await store.close()
    assert len({event.id for event in await asyncio.gather(*writes)}) == 20
    assert raw(sqlite_settings, "SELECT count(*) FROM events") == [(20,)]


def test_a_program_that_forgets_to_close_still_ends(sqlite_settings: StorageSettings) -> None:
    program = (
        "import asyncio\n"
        "from storage import Store\n"
        "async def main():\n"
        "    store = await Store.open()\n"
        "    await store.events.add('x', None, {})\n"
        "asyncio.run(main())\n"
    )
    environment = {
        **os.environ,
        "WORDTALE_STORAGE_URL": sqlite_settings.url,
        "WORDTALE_STORAGE_KEY_FILE": str(sqlite_settings.key_file),
    }
    answer = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert answer.returncode == 0, answer.stderr
    assert raw(sqlite_settings, "SELECT count(*) FROM events") == [(1,)]
