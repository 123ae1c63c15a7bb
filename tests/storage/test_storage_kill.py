"""Killed at any moment: what was acknowledged is there, and the file is sound."""

from __future__ import annotations

import asyncio
import random
from multiprocessing.connection import Connection

from storage_doors import raw, start, write_turns

from storage import StorageSettings, Store

ROUNDS = 25
WRITERS = 2


def all_said(says: Connection) -> list[str]:
    """Everything that came through the pipe before the writer was killed."""
    said = []
    try:
        while says.poll():
            said.append(says.recv())
    except EOFError:
        pass
    says.close()
    return said


async def test_fifty_kills_lose_no_acknowledged_turn(sqlite_settings: StorageSettings) -> None:
    async with await Store.open(sqlite_settings) as store:
        person = await store.people.resolve("console", "me")
    rng = random.Random(20)
    acknowledged: list[str] = []
    for number in range(ROUNDS):
        lives = [start(write_turns, sqlite_settings, f"{number}.{writer}") for writer in range(WRITERS)]
        for _, says in lives:
            assert says.poll(30), "the writer said nothing"
        await asyncio.sleep(rng.random() * 0.02)
        for process, _ in lives:
            process.kill()
        for process, says in lives:
            process.join(10)
            acknowledged += all_said(says)
    assert len(acknowledged) >= ROUNDS * WRITERS
    async with await Store.open(sqlite_settings) as store:
        await store.check(decrypt=True)
        for turn in acknowledged:
            story = await store.stories.begin(person.id, "console", {}, turn=turn)
            assert (story.state, story.text) == ("done", f"text of {turn}")
        told = await store.stories.recent(person.id, limit=100_000)
        assert len(told) >= len(acknowledged)
        half_told = await store.stories.pending()
        assert len(half_told) <= ROUNDS * WRITERS
    assert raw(sqlite_settings, "PRAGMA integrity_check") == [("ok",)]
    assert raw(sqlite_settings, "PRAGMA foreign_key_check") == []
