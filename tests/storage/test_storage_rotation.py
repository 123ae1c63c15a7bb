"""A new key, while the store is in use and whatever interrupts it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from storage_doors import (
    MakeSettings,
    file_bytes,
    key_ids_in_use,
    rotate_and_die,
    start,
    tell,
)

from storage import KeyMissing, StorageError, StorageSettings, Store, Story
from storage.crypto import Key

WORDS = [f"word {number}" for number in range(230)]


def keys_in_file(settings: StorageSettings) -> list[str]:
    return [line for line in settings.key_file.read_text().splitlines() if not line.startswith("#")]


async def fill(store: Store) -> str:
    person = await store.people.resolve("telegram", "4711")
    await store.words.add(person.id, WORDS, glosses={"word 1": "слово"})
    await tell(store, person.id, "turn 1", text="An old story.", chat="telegram:1")
    await store.settings.update(person.id, {"level": "A2"})
    return person.id


async def assert_all_is_found(store: Store, person_id: str) -> None:
    """Look everything up by what a front end knows; nothing may be doubled or lost."""
    assert (await store.people.resolve("telegram", "4711")).id == person_id
    assert await store.words.add(person_id, WORDS[:10]) == []
    assert [word.word for word in await store.words.all(person_id)] == WORDS
    again = await store.stories.begin(person_id, "telegram:1", {}, turn="turn 1")
    assert again.text == "An old story."
    assert await store.stories.latest(person_id, "telegram:1") == again
    assert await store.settings.get(person_id) == {"level": "A2"}
    await store.check(decrypt=True)


async def test_after_a_rotation_everything_is_found_and_uses_the_new_key(
    sqlite_settings: StorageSettings,
) -> None:
    async with await Store.open(sqlite_settings) as store:
        person_id = await fill(store)
        (old,) = keys_in_file(sqlite_settings)
        done = await store.rotate_key()
        assert not done.resumed
        assert done.rows > len(WORDS)
        await assert_all_is_found(store, person_id)
        new, kept = keys_in_file(sqlite_settings)
        assert kept == old
        assert key_ids_in_use(sqlite_settings) == {Key.from_text(new).id}
        assert Key.from_text(new).id.hex() == done.key_id
        assert Key.from_text(old).id not in file_bytes(sqlite_settings)


async def test_after_a_rotation_the_old_key_is_not_needed(sqlite_settings: StorageSettings) -> None:
    async with await Store.open(sqlite_settings) as store:
        person_id = await fill(store)
        (old,) = keys_in_file(sqlite_settings)
        assert (await store.rotate_key(drop_old=True)).dropped_keys == 1
    assert old not in sqlite_settings.key_file.read_text()
    assert sqlite_settings.key_file.stat().st_mode & 0o777 == 0o600
    async with await Store.open(sqlite_settings) as store:
        await assert_all_is_found(store, person_id)
        assert (await store.rotate_key(drop_old=True)).dropped_keys == 1
        await assert_all_is_found(store, person_id)


async def test_a_process_that_is_running_follows_the_rotation(sqlite_settings: StorageSettings) -> None:
    async with await Store.open(sqlite_settings) as bot, await Store.open(sqlite_settings) as worker:
        person_id = await fill(bot)
        await worker.rotate_key(drop_old=True)
        assert await bot.stories.latest(person_id, "telegram:1") is not None
        await assert_all_is_found(bot, person_id)
        await bot.settings.update(person_id, {"later": True})
        assert len(key_ids_in_use(sqlite_settings)) == 1
        assert (await worker.settings.get(person_id))["later"] is True


async def test_an_interrupted_rotation_is_readable_and_goes_on(sqlite_settings: StorageSettings) -> None:
    class Interruption(Exception):
        pass

    def interrupt(rows: int) -> None:
        raise Interruption

    async with await Store.open(sqlite_settings) as store:
        person_id = await fill(store)
        with pytest.raises(Interruption):
            await store.rotate_key(drop_old=True, tell=interrupt)
        assert len(key_ids_in_use(sqlite_settings)) == 2
        await assert_all_is_found(store, person_id)
        keys = keys_in_file(sqlite_settings)
        done = await store.rotate_key(drop_old=True)
        assert done.resumed
        assert keys_in_file(sqlite_settings) == keys[:1]
        assert key_ids_in_use(sqlite_settings) == {Key.from_text(keys[0]).id}
        await assert_all_is_found(store, person_id)


async def test_a_killed_rotation_is_readable_and_goes_on(sqlite_settings: StorageSettings) -> None:
    async with await Store.open(sqlite_settings) as store:
        person_id = await fill(store)
    process, _ = start(rotate_and_die, sqlite_settings)
    process.join(30)
    assert process.exitcode == -9
    async with await Store.open(sqlite_settings) as store:
        assert len(key_ids_in_use(sqlite_settings)) == 2
        await assert_all_is_found(store, person_id)
        assert (await store.rotate_key()).resumed
        await assert_all_is_found(store, person_id)
        assert len(key_ids_in_use(sqlite_settings)) == 1


async def test_a_key_that_was_made_but_not_yet_used_is_taken_up(sqlite_settings: StorageSettings) -> None:
    async with await Store.open(sqlite_settings) as store:
        person_id = await fill(store)
        unused = Key.new()
        sqlite_settings.key_file.write_text(f"{unused.to_text()}\n{keys_in_file(sqlite_settings)[0]}\n")
    async with await Store.open(sqlite_settings) as store:
        await assert_all_is_found(store, person_id)
        assert (await store.rotate_key()).key_id == unused.id.hex()
        assert len(keys_in_file(sqlite_settings)) == 2


async def test_two_databases_may_share_a_key_file(make_settings: MakeSettings, tmp_path: Path) -> None:
    first, second = make_settings(), make_settings(url=f"sqlite:///{tmp_path}/second.db")
    async with await Store.open(first) as one, await Store.open(second) as two:
        people = [await fill(one), await fill(two)]
        await one.rotate_key()
        await assert_all_is_found(two, people[1])
    async with await Store.open(second) as two:
        await assert_all_is_found(two, people[1])


async def test_keys_of_the_environment_are_rotated_by_naming_both(make_settings: MakeSettings) -> None:
    old, new = Key.new().to_text(), Key.new().to_text()
    async with await Store.open(make_settings(key=old)) as store:
        person_id = await fill(store)
        with pytest.raises(StorageError, match="put a new key before the present one"):
            await store.rotate_key()
    both = make_settings(key=f"{new}, {old}")
    async with await Store.open(both) as store, await Store.open(make_settings(key=old)) as outdated:
        await assert_all_is_found(store, person_id)
        await store.rotate_key()
        await assert_all_is_found(store, person_id)
        with pytest.raises(KeyMissing, match=Key.from_text(new).id.hex()):
            await outdated.settings.update(person_id, {"a": 1})
    async with await Store.open(make_settings(key=new)) as store:
        await assert_all_is_found(store, person_id)
    assert not both.key_file.exists()


async def test_a_rotation_in_the_midst_of_work_loses_nothing(sqlite_settings: StorageSettings) -> None:
    async with await Store.open(sqlite_settings) as bot, await Store.open(sqlite_settings) as worker:
        person_id = await fill(bot)
        rotation = asyncio.create_task(worker.rotate_key(drop_old=True))
        told: list[Story] = []
        while not rotation.done() or len(told) < 3:
            told.append(await tell(bot, person_id, f"turn of work {len(told)}", chat="other"))
        await rotation
        assert [await worker.stories.get(story.id) for story in told] == told
        await assert_all_is_found(bot, person_id)
        assert len(key_ids_in_use(sqlite_settings)) == 1


async def test_any_database_can_be_rotated_while_in_use(settings: StorageSettings) -> None:
    async with await Store.open(settings) as bot, await Store.open(settings) as worker:
        person_id = await fill(bot)
        rotation = asyncio.create_task(worker.rotate_key(drop_old=True))
        for number in range(5):
            await tell(bot, person_id, f"turn of work {number}", chat="other")
        assert (await rotation).dropped_keys == 1
        await assert_all_is_found(bot, person_id)
    async with await Store.open(settings) as store:
        await assert_all_is_found(store, person_id)
