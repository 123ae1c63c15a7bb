"""People: found again, handed over, forgotten."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing

import pytest
from storage_doors import MakeSettings, blobs, database_path, file_bytes, tell

from storage import NotFound, StorageSettings, Store
from storage.repositories.personal import BELONGS
from storage.tables import encryption_keys, metadata


async def test_the_same_identity_is_the_same_person(store: Store) -> None:
    first = await store.people.resolve("telegram", "4711", locale="ru")
    again = await store.people.resolve("telegram", "4711", locale="en")
    assert again == first
    assert first.locale == "ru"
    assert await store.people.get(first.id) == first
    assert await store.people.identities(first.id) == [("telegram", "4711")]


async def test_the_same_number_on_another_platform_is_somebody_else(store: Store) -> None:
    people = [await store.people.resolve(platform, "4711") for platform in ("telegram", "discord")]
    assert people[0].id != people[1].id


async def test_meeting_somebody_many_times_at_once_makes_one_person(store: Store) -> None:
    people = await asyncio.gather(*(store.people.resolve("telegram", "1") for _ in range(20)))
    assert len({person.id for person in people}) == 1


async def test_a_locale_is_kept(store: Store, settings: StorageSettings) -> None:
    person = await store.people.resolve("console", "me")
    assert (await store.people.set_locale(person.id, "zh")).locale == "zh"
    async with await Store.open(settings) as reopened:
        assert (await reopened.people.resolve("console", "me")).locale == "zh"


async def test_an_unknown_person_is_said_to_be_unknown(store: Store) -> None:
    assert await store.people.get("nobody") is None
    assert await store.people.identities("nobody") == []
    assert await store.people.forget("nobody") == 0
    with pytest.raises(NotFound, match="nobody"):
        await store.people.set_locale("nobody", "en")
    with pytest.raises(NotFound, match="nobody"):
        await store.people.export("nobody")


async def fill(store: Store, name: str) -> str:
    """Give a person at least one row in every table, each with their name in it."""
    person = await store.people.resolve("telegram", f"id-of-{name}", locale="en")
    await store.settings.update(person.id, {"nickname": f"nickname of {name}", "level": "A2"})
    await store.words.add(
        person.id, [f"{name}-word", "dinner"], f"{name} list", glosses={"dinner": f"{name} ужин"}
    )
    told = await tell(store, person.id, f"turn-{name}", text=f"{name} went to the sea. " * 400)
    await store.stories.begin(
        person.id, f"chat-{name}", {"opening": f"{name} slept"}, turn="2", parent_id=told.id
    )
    await store.ratings.set(person.id, told.id, -1, [f"boring for {name}"])
    await store.jobs.add("retrain", {"why": f"{name} asked"}, created_by=person.id)
    await store.events.add("again", person.id, {"who": name})
    return person.id


async def test_an_export_holds_every_row(store: Store) -> None:
    person_id = await fill(store, "Anna")
    await fill(store, "Boris")
    export = json.loads(json.dumps(await store.people.export(person_id)))
    assert set(export) == set(metadata.tables) - {encryption_keys.name}
    assert {table: len(rows) for table, rows in export.items()} == {
        "people": 1,
        "identities": 1,
        "settings": 2,
        "word_lists": 1,
        "words": 2,
        "stories": 2,
        "ratings": 1,
        "jobs": 1,
        "events": 1,
    }
    everything = json.dumps(export, ensure_ascii=False)
    for text in ("id-of-Anna", "Anna-word", "Anna list", "Anna ужин", "turn-Anna", "chat-Anna", "Anna slept"):
        assert text in everything
    assert export["stories"][0]["text"].startswith("Anna went to the sea.")
    assert export["ratings"][0]["reasons"] == ["boring for Anna"]
    assert export["jobs"][0]["payload"] == {"why": "Anna asked"}
    assert "Boris" not in everything


def test_every_table_is_known_to_export_and_forget() -> None:
    assert set(BELONGS) == set(metadata.sorted_tables) - {encryption_keys}


async def test_forgetting_deletes_all_rows_of_one_person(store: Store) -> None:
    anna, boris = await fill(store, "Anna"), await fill(store, "Boris")
    kept = await store.people.export(boris)
    rows = sum(map(len, (await store.people.export(anna)).values()))
    assert await store.people.forget(anna) == rows
    assert await store.people.get(anna) is None
    assert await store.people.export(boris) == kept
    assert (await store.people.resolve("telegram", "id-of-Anna")).id != anna
    await store.check(decrypt=True)


async def test_forgetting_takes_others_ratings_along_and_loosens_their_stories(store: Store) -> None:
    anna, boris = await fill(store, "Anna"), await fill(store, "Boris")
    told = (await store.stories.recent(anna))[0]
    theirs = await store.stories.begin(boris, "group", {}, turn="9", parent_id=told.id, version_of=told.id)
    await store.ratings.set(boris, told.id, 1)
    await store.people.forget(anna)
    loosened = await store.stories.get(theirs.id)
    assert loosened is not None
    assert (loosened.parent_id, loosened.version_of) == (None, None)
    assert await store.ratings.get(boris, told.id) is None


def windows(value: bytes, size: int = 24) -> set[bytes]:
    return {value[at : at + size] for at in range(0, len(value) - size, size)}


async def test_forgetting_leaves_no_byte_in_the_files(
    sqlite_store: Store, sqlite_settings: StorageSettings
) -> None:
    boris = await fill(sqlite_store, "Boris")
    others = set(blobs(sqlite_settings))
    anna = await fill(sqlite_store, "Anna")
    hers = set(blobs(sqlite_settings)) - others
    before = file_bytes(sqlite_settings)
    assert len(hers) > 15
    assert all(value[:40] in before for value in hers)
    assert anna.encode() in before

    await sqlite_store.people.forget(anna)

    after = file_bytes(sqlite_settings)
    for piece in set().union(*map(windows, hers)):
        assert piece not in after
    assert anna.encode() not in after
    assert all(value[:40] in after for value in others)
    assert boris.encode() in after
    log = database_path(sqlite_settings).with_name("wordtale.db-wal")
    assert log.stat().st_size == 0


async def test_forgetting_while_somebody_reads_is_complete_once_the_store_closes(
    make_settings: MakeSettings,
) -> None:
    settings = make_settings(busy_timeout_ms=50)
    store = await Store.open(settings)
    anna = await fill(store, "Anna")
    hers = set(blobs(settings))
    with closing(sqlite3.connect(database_path(settings), isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM stories").fetchall()
        assert await store.people.forget(anna) > 0
        assert await store.people.get(anna) is None
    await store.close()
    left = file_bytes(settings)
    for piece in set().union(*map(windows, hers)):
        assert piece not in left
