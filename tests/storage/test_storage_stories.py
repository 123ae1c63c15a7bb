"""Stories, their ratings, and events."""

from __future__ import annotations

import asyncio

import pytest
from storage_doors import tell

from storage import NotFound, StorageSettings, Store


async def test_a_story_from_asked_to_told(store: Store, settings: StorageSettings, person_id: str) -> None:
    asked = await store.stories.begin(person_id, "console", {"words": ["Tom", "ужин"]}, turn="1")
    assert (asked.state, asked.text, asked.finished_at) == ("pending", None, None)
    told = await store.stories.finish(asked.id, title="Tom", text="Tom ate.", result={"seed": 7, "n": 4})
    assert (told.state, told.title, told.text) == ("done", "Tom", "Tom ate.")
    assert told.request == {"words": ["Tom", "ужин"]}
    assert told.result == {"seed": 7, "n": 4}
    assert told.finished_at is not None
    assert told.finished_at >= told.created_at == asked.created_at
    async with await Store.open(settings) as reopened:
        assert await reopened.stories.get(asked.id) == told
        assert await reopened.stories.latest(person_id, "console") == told


async def test_the_same_turn_is_the_same_story(store: Store, person_id: str) -> None:
    other = (await store.people.resolve("console", "you")).id
    first = await store.stories.begin(person_id, "console", {"words": ["a"]}, turn="update-1")
    assert await store.stories.begin(person_id, "console", {"words": ["b"]}, turn="update-1") == first
    told = await store.stories.finish(first.id, title="T", text="Once.", result={})
    assert await store.stories.begin(person_id, "console", {}, turn="update-1") == told
    assert (await store.stories.begin(other, "console", {}, turn="update-1")).id != first.id


async def test_the_same_turn_at_once_is_one_story(store: Store, person_id: str) -> None:
    begun = await asyncio.gather(
        *(store.stories.begin(person_id, "console", {"n": n}, turn="same") for n in range(20))
    )
    assert len({story.id for story in begun}) == 1
    assert len(await store.stories.pending()) == 1


async def test_a_told_story_never_changes(store: Store, person_id: str) -> None:
    told = await tell(store, person_id, "1", text="First.")
    assert await store.stories.finish(told.id, title="X", text="Second.", result={}) == told
    assert await store.stories.fail(told.id, "overloaded") == told


async def test_a_failed_story_can_still_be_told(store: Store, person_id: str) -> None:
    asked = await store.stories.begin(person_id, "console", {}, turn="1")
    failed = await store.stories.fail(asked.id, "unavailable")
    assert (failed.state, failed.error) == ("failed", "unavailable")
    assert await store.stories.pending() == []
    assert await store.stories.latest(person_id, "console") is None
    told = await store.stories.finish(asked.id, title="T", text="Late.", result={})
    assert (told.state, told.error, told.text) == ("done", None, "Late.")


async def test_history_has_the_last_told_first_page_by_page(store: Store, person_id: str) -> None:
    told = [await tell(store, person_id, str(number)) for number in range(25)]
    await store.stories.begin(person_id, "console", {}, turn="pending")
    await store.stories.fail((await store.stories.begin(person_id, "console", {}, turn="f")).id, "deadline")
    other = (await store.people.resolve("console", "you")).id
    await tell(store, other, "theirs")
    pages, before = [], None
    while page := await store.stories.recent(person_id, limit=10, before=before):
        pages.append(page)
        before = page[-1].id
    assert [len(page) for page in pages] == [10, 10, 5]
    assert [story for page in pages for story in page] == told[::-1]


async def test_the_order_is_that_of_telling_not_of_asking(store: Store, person_id: str) -> None:
    slow = await store.stories.begin(person_id, "console", {}, turn="slow")
    quick = await tell(store, person_id, "quick")
    slow = await store.stories.finish(slow.id, title="S", text="Slow.", result={})
    assert await store.stories.recent(person_id) == [slow, quick]
    assert await store.stories.latest(person_id, "console") == slow


async def test_the_latest_story_is_that_of_the_chat(store: Store, person_id: str) -> None:
    here = await tell(store, person_id, "1", chat="telegram:1")
    there = await tell(store, person_id, "2", chat="telegram:2")
    assert await store.stories.latest(person_id, "telegram:1") == here
    assert await store.stories.latest(person_id, "telegram:2") == there
    assert await store.stories.latest(person_id, "telegram:3") is None


async def test_versions_gather_under_the_first(store: Store, person_id: str) -> None:
    first = await tell(store, person_id, "1")
    second = await tell(store, person_id, "2", version_of=first.id)
    third = await tell(store, person_id, "3", version_of=second.id)
    await store.stories.begin(person_id, "console", {}, turn="4", version_of=first.id)
    assert third.version_of == first.id
    for story in (first, second, third):
        assert await store.stories.versions(story.id) == [first, second, third]


async def test_a_continued_story_knows_its_parent(store: Store, person_id: str) -> None:
    first = await tell(store, person_id, "1")
    assert (await tell(store, person_id, "2", parent_id=first.id)).parent_id == first.id


async def test_pending_stories_are_those_of_the_front_end(store: Store, person_id: str) -> None:
    for number, chat in enumerate(("telegram:1", "discord:1", "telegram:2")):
        await store.stories.begin(person_id, chat, {}, turn=str(number))
    assert [story.chat for story in await store.stories.pending("telegram:")] == ["telegram:1", "telegram:2"]
    assert len(await store.stories.pending()) == 3


async def test_unknown_ids_are_said_to_be_unknown(store: Store, person_id: str) -> None:
    assert await store.stories.get("none") is None
    assert await store.ratings.get(person_id, "none") is None
    for call in (
        store.stories.begin("nobody", "console", {}, turn="1"),
        store.stories.begin(person_id, "console", {}, turn="1", parent_id="none"),
        store.stories.begin(person_id, "console", {}, turn="1", version_of="none"),
        store.stories.finish("none", title="", text="", result={}),
        store.stories.fail("none", "x"),
        store.stories.versions("none"),
        store.stories.recent(person_id, before="none"),
        store.ratings.set(person_id, "none", 1),
        store.ratings.set("nobody", "none", 1),
        store.events.add("x", "nobody", {}),
        store.jobs.add("x", {}, created_by="nobody"),
    ):
        with pytest.raises(NotFound):
            await call
    assert await store.stories.pending() == []


async def test_a_rating_can_change_and_go(store: Store, person_id: str) -> None:
    story = await tell(store, person_id, "1")
    first = await store.ratings.set(person_id, story.id, -1, ["boring", "too hard"])
    assert (first.value, first.reasons) == (-1, ("boring", "too hard"))
    second = await store.ratings.set(person_id, story.id, 1)
    assert (second.value, second.reasons, second.created_at) == (1, (), first.created_at)
    assert await store.ratings.get(person_id, story.id) == second
    assert await store.ratings.remove(person_id, story.id)
    assert not await store.ratings.remove(person_id, story.id)
    with pytest.raises(ValueError, match="1 or -1"):
        await store.ratings.set(person_id, story.id, 5)


async def test_two_people_rate_apart(store: Store, person_id: str) -> None:
    other = (await store.people.resolve("console", "you")).id
    story = await tell(store, person_id, "1")
    await store.ratings.set(person_id, story.id, 1)
    await store.ratings.set(other, story.id, -1)
    ratings = [await store.ratings.get(who, story.id) for who in (person_id, other)]
    assert [rating and rating.value for rating in ratings] == [1, -1]


async def test_events_come_back_newest_first(store: Store, person_id: str) -> None:
    events = [await store.events.add("again", person_id, {"n": n}) for n in range(3)]
    await store.events.add("other", None, {})
    assert await store.events.recent("again", limit=2) == [events[2], events[1]]
    assert [event.person_id for event in await store.events.recent("other")] == [None]
