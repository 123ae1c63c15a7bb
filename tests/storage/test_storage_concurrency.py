"""Many writers at once: no update is lost, none fails, and one who leaves harms nobody."""

from __future__ import annotations

import asyncio
import time

import pytest
from storage_doors import (
    count_up,
    count_up_in_process,
    database_path,
    open_in_process,
    raw,
    start,
    tell,
)

from storage import StorageSettings, Store

TASKS, TIMES = 16, 50


async def test_800_changes_of_one_value_from_16_tasks_all_count(store: Store, person_id: str) -> None:
    await asyncio.gather(*(count_up(store, person_id, TIMES) for _ in range(TASKS)))
    assert await store.settings.get(person_id) == {"count": TASKS * TIMES}


async def test_800_versions_of_one_story_from_16_tasks_are_all_kept(store: Store, person_id: str) -> None:
    story = await tell(store, person_id, "first")

    async def tell_anew(task: int) -> None:
        for number in range(TIMES):
            turn = f"{task}/{number}"
            await store.stories.begin(person_id, "console", {}, turn=turn, version_of=story.id)
            if number % 10 == 0:
                await store.ratings.set(person_id, story.id, 1, [turn])

    await asyncio.gather(*(tell_anew(task) for task in range(TASKS)))
    pending = await store.stories.pending()
    assert len({version.turn for version in pending}) == TASKS * TIMES
    assert {version.version_of for version in pending} == {story.id}


async def test_800_changes_from_two_processes_all_count(settings: StorageSettings) -> None:
    async with await Store.open(settings) as store:
        person = await store.people.resolve("console", "me")
        workers = [start(count_up_in_process, settings, TASKS // 2, TIMES) for _ in range(2)]
        for process, says in workers:
            assert says.poll(60)
            assert says.recv() == "ok"
            process.join(10)
        assert await store.settings.get(person.id) == {"count": TASKS * TIMES}


@pytest.mark.parametrize("attempt", range(3))
async def test_processes_that_open_a_new_database_at_once_agree(
    sqlite_settings: StorageSettings, attempt: int
) -> None:
    go_at = time.monotonic() + 0.3
    workers = [start(open_in_process, sqlite_settings, go_at) for _ in range(4)]
    people = set()
    for process, says in workers:
        assert says.poll(60)
        people.add(says.recv())
        process.join(10)
    (person_id,) = people
    async with await Store.open(sqlite_settings) as store:
        assert (await store.people.resolve("console", "me")).id == person_id
        await store.check(decrypt=True)
    assert raw(sqlite_settings, "SELECT count(*) FROM encryption_keys") == [(1,)]
    assert raw(sqlite_settings, "SELECT version_num FROM alembic_version") == [("0001",)]
    assert list(database_path(sqlite_settings).parent.glob("*.bak")) == []


async def test_stores_of_one_process_that_open_a_new_database_at_once_agree(
    settings: StorageSettings,
) -> None:
    stores = await asyncio.gather(*(Store.open(settings) for _ in range(4)))
    people = await asyncio.gather(*(store.people.resolve("console", "me") for store in stores))
    assert len({person.id for person in people}) == 1
    await asyncio.gather(*(store.close() for store in stores))


async def test_who_cancels_in_the_midst_of_a_write_harms_nobody(store: Store, person_id: str) -> None:
    acknowledged = 0

    async def write() -> None:
        nonlocal acknowledged
        await count_up(store, person_id, 1)
        acknowledged += 1

    for number in range(60):
        writers = [asyncio.create_task(write()) for _ in range(3)]
        await asyncio.sleep(number / 10_000)
        for writer in writers[:2]:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
        assert not isinstance(writers[2].exception(), BaseException)
    count = (await store.settings.get(person_id))["count"]
    assert acknowledged <= count <= 180
    await store.check(decrypt=True)


async def test_many_readers_and_writers_together_all_get_through(store: Store, person_id: str) -> None:
    async def work(number: int) -> int:
        await tell(store, person_id, str(number))
        return len(await store.stories.recent(person_id, limit=100))

    seen = await asyncio.gather(*(work(number) for number in range(60)))
    assert max(seen) == 60
    assert min(seen) >= 1
