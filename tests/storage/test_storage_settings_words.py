"""Settings and word lists."""

from __future__ import annotations

import pytest
from storage_doors import raw

from storage import NotFound, StorageSettings, Store


async def test_settings_merge_and_survive_reopening(
    store: Store, settings: StorageSettings, person_id: str
) -> None:
    assert await store.settings.get(person_id) == {}
    await store.settings.update(person_id, {"temperature": 0.8, "level": "A2", "seed": 7})
    merged = await store.settings.update(person_id, {"level": "B1", "seed": None, "gone": None})
    assert merged == {"temperature": 0.8, "level": "B1"}
    async with await Store.open(settings) as reopened:
        assert await reopened.settings.get(person_id) == merged


async def test_settings_hold_any_json(store: Store, person_id: str) -> None:
    value = {"list": [1, 2.5, True, "жираф 🦒", None], "half an emoji": "\ud83e", "nul": "a\0b"}
    await store.settings.update(person_id, {"anything": value})
    assert await store.settings.get(person_id) == {"anything": value}


async def test_what_is_no_json_is_refused_and_nothing_is_changed(store: Store, person_id: str) -> None:
    await store.settings.update(person_id, {"a": 1})
    with pytest.raises(TypeError):
        await store.settings.update(person_id, {"a": 2, "b": object()})
    with pytest.raises(ValueError, match="JSON compliant"):
        await store.settings.update(person_id, {"a": 2, "b": float("nan")})
    assert await store.settings.get(person_id) == {"a": 1}


async def test_a_change_that_raises_changes_nothing(store: Store, person_id: str) -> None:
    await store.settings.update(person_id, {"a": 1})
    with pytest.raises(ZeroDivisionError):
        await store.settings.change(person_id, lambda now: {"a": now["a"] / 0})
    assert await store.settings.get(person_id) == {"a": 1}


async def test_settings_of_nobody_are_refused(store: Store) -> None:
    with pytest.raises(NotFound, match="nobody"):
        await store.settings.update("nobody", {"a": 1})


async def test_words_are_kept_in_order_once_each(store: Store, person_id: str) -> None:
    added = await store.words.add(person_id, ["dinner", " look  after ", "Tom", "dinner", "", "  "])
    assert [word.word for word in added] == ["dinner", "look after", "Tom"]
    again = await store.words.add(person_id, ["tom", "dinner", "look after"])
    assert [word.word for word in again] == ["tom"]
    assert [word.word for word in await store.words.all(person_id)] == [
        "dinner",
        "look after",
        "Tom",
        "tom",
    ]


async def test_composed_and_decomposed_letters_are_one_word(store: Store, person_id: str) -> None:
    await store.words.add(person_id, ["cafe\u0301"])
    assert await store.words.add(person_id, ["caf\u00e9"]) == []


async def test_a_gloss_can_come_later_and_change(store: Store, person_id: str) -> None:
    await store.words.add(person_id, ["dinner", "sea"], glosses={"dinner": "обед"})
    assert await store.words.add(person_id, ["dinner"], glosses={"dinner": "ужин"}) == []
    words = {word.word: word.gloss for word in await store.words.all(person_id)}
    assert words == {"dinner": "ужин", "sea": None}


async def test_lists_stand_apart(store: Store, person_id: str) -> None:
    other = (await store.people.resolve("console", "you")).id
    await store.words.add(person_id, ["dinner", "sea"])
    await store.words.add(person_id, ["dinner"], "travel")
    await store.words.add(other, ["dinner"])
    assert [(found.name, found.size) for found in await store.words.lists(person_id)] == [
        ("words", 2),
        ("travel", 1),
    ]
    assert await store.words.remove(person_id, ["dinner", "nothing"]) == ["dinner"]
    assert len(await store.words.all(person_id, "travel")) == 1
    assert len(await store.words.all(other)) == 1
    assert await store.words.drop_list(person_id, "travel")
    assert not await store.words.drop_list(person_id, "travel")
    assert [found.name for found in await store.words.lists(person_id)] == ["words"]


async def test_words_of_a_missing_list_or_person(store: Store, person_id: str) -> None:
    assert await store.words.all(person_id, "none") == []
    assert await store.words.remove(person_id, ["a"], "none") == []
    with pytest.raises(NotFound):
        await store.words.add("nobody", ["a"])


async def test_dropping_a_list_drops_its_words(sqlite_store: Store, sqlite_settings: StorageSettings) -> None:
    person = await sqlite_store.people.resolve("console", "me")
    await sqlite_store.words.add(person.id, [f"word {number}" for number in range(500)])
    await sqlite_store.words.drop_list(person.id, "words")
    assert raw(sqlite_settings, "SELECT count(*) FROM words") == [(0,)]
