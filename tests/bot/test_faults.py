"""What goes wrong with engine and storage: a sentence in two seconds, nothing lost, the next turn fine."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bot.context import Caller
from bot.replies import Status, flatten
from bot.turns import CANCELLED
from engine.schema import ErrorCode, ErrorEvent
from storage import StorageError, StorageSettings, Store
from tests.bot.conftest import Conversation
from tests.bot.scripted_engine import KILLED, REFUSED, SLOW, ScriptedEngine

APOLOGY_SECONDS = 2.0
MARGIN_SECONDS = 0.5


async def test_an_engine_killed_in_mid_story_is_brought_back_and_the_story_told(chat: Conversation) -> None:
    chat.engine.plan.append(KILLED)
    answer = await chat("/story Tom, dinner seed=7")
    assert "The storyteller had stopped. I started it again" in answer
    assert "2/2 words" in answer
    first, second = chat.engine.requests
    assert first == second
    assert chat.engine.revived == 1
    assert "1. Title 2" in await chat("/history")
    assert await chat.store.stories.pending() == []


async def test_the_chat_says_that_the_engine_is_being_started_again(chat: Conversation) -> None:
    seen: list[object] = []

    async def report(progress: object) -> None:
        seen.append(progress)

    chat.engine.plan.append(KILLED)
    await chat.dispatcher.handle(Caller("telegram", "ann", "telegram:1", "t"), "/story Tom", report)
    assert Status("The storyteller stopped. I am starting it again…") in seen


async def test_an_engine_killed_twice_is_a_sentence_and_the_next_turn_works(chat: Conversation) -> None:
    chat.engine.plan.extend([KILLED, KILLED])
    assert "can't be reached" in await chat("/story Tom")
    assert len(chat.engine.requests) == 2
    assert await chat.store.stories.pending() == []
    assert "1/1 word" in await chat("/story Tom")


async def test_an_engine_that_does_not_run_and_does_not_start(chat: Conversation) -> None:
    chat.engine.plan.append(REFUSED)
    chat.engine.can_revive = False
    answer = await chat("/story Tom")
    assert "can't be reached" in answer
    assert "see engine.log" in answer
    for line in ("/history", "/settings", "/help", "/about"):
        assert "can't be reached" not in await chat(line)


async def test_a_start_that_failed_is_tried_again_by_the_next_story(chat: Conversation) -> None:
    chat.engine.can_revive = False
    chat.link.start()
    assert "can't be reached" in await chat("/story Tom")
    chat.engine.can_revive = True
    assert "1/1 word" in await chat("/story Tom")


@pytest.mark.parametrize("code", list(ErrorCode))
async def test_every_refusal_of_the_engine_is_a_sentence_in_the_persons_language(
    chat: Conversation, code: ErrorCode
) -> None:
    error = ErrorEvent(code=code, message="num_beams needs torch.", retry_after=3)
    chat.engine.plan.extend([error, error])
    english = await chat("/story Tom")
    assert english
    assert "Title" not in english
    if code is ErrorCode.OVERLOADED:
        assert "in 3 seconds" in english
    await chat("/settings language ru")
    chat.engine.plan.clear()
    chat.engine.plan.extend([error, error])
    assert await chat("/story Tom") != english
    chat.engine.plan.clear()
    assert "Title" in await chat("/story Tom")


async def test_an_engine_that_restarts_is_waited_for(chat: Conversation) -> None:
    chat.engine.plan.append(ErrorEvent(code=ErrorCode.SHUTTING_DOWN, message="stopping", retry_after=1))
    assert "1/1 word" in await chat("/story Tom")
    assert chat.engine.revived == 1


@contextmanager
def locked(settings: StorageSettings) -> Iterator[None]:
    """Hold the database's write lock, as another program may for ten seconds and more."""
    connection = sqlite3.connect(settings.sqlite_path or "", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


async def apology(chat: Conversation, line: str) -> str:
    """Return the answer to a line, which must not keep anybody waiting."""
    began = time.monotonic()
    answer = await chat(line)
    assert time.monotonic() - began < APOLOGY_SECONDS + MARGIN_SECONDS
    return answer


async def test_a_locked_database(chat: Conversation, storage_settings: StorageSettings) -> None:
    await chat("/story Tom")
    with locked(storage_settings):
        assert "database is busy" in await apology(chat, "/story dinner")
        assert "1. Title 1" in await chat("/history")
    assert len(chat.engine.requests) == 1
    assert "1/1 word" in await chat("/story dinner")


async def test_a_database_locked_for_somebody_new(
    chat: Conversation, storage_settings: StorageSettings
) -> None:
    with locked(storage_settings):
        assert "database is busy" in await apology(chat, "/story dinner")
    assert "1/1 word" in await chat("/story dinner")


async def test_a_story_that_can_not_be_kept_is_told_all_the_same(
    chat: Conversation, storage_settings: StorageSettings
) -> None:
    await chat("/settings level A2")
    lock = locked(storage_settings)

    async def lock_in_mid_story(progress: object) -> None:
        if not seen:
            lock.__enter__()
        seen.append(progress)

    seen: list[object] = []
    caller = Caller("telegram", "ann", "telegram:1", "t")
    reply = await chat.dispatcher.handle(caller, "/story Tom", lock_in_mid_story)
    lock.__exit__(None, None, None)
    text = flatten(reply.segments).text
    assert "1/1 word" in text
    assert "I could not save this story" in text
    assert reply.buttons == ()


async def test_a_full_disk(store: Store, storage_settings: StorageSettings, tmp_path: Path) -> None:
    path = storage_settings.sqlite_path
    assert path is not None
    other = await store.people.resolve("telegram", "somebody else")
    for number in range(20):
        await store.stories.begin(other.id, "telegram:2", {"filler": "x" * 2000}, turn=f"filler {number}")
    await store.close()
    small = storage_settings.model_copy(update={"max_size": path.stat().st_size + 80_000})
    async with await Store.open(small) as limited:
        chat = Conversation(limited, ScriptedEngine(), tmp_path / "chats")
        for number in range(200):
            answer = await apology(chat, f"/story word{number}")
            if "disk is full" in answer:
                break
        assert "disk is full" in answer
        assert number > 2
        assert "1. Title" in await chat("/history")
        await limited.people.forget(other.id)
        assert "1/1 word" in await chat("/story Tom")


async def test_a_read_only_database(
    chat: Conversation, storage_settings: StorageSettings, tmp_path: Path
) -> None:
    await chat("/story Tom")
    url = f"sqlite+aiosqlite:///file:{storage_settings.sqlite_path}?mode=ro&uri=true"
    async with await Store.open(storage_settings.model_copy(update={"url": url})) as reader:
        second = Conversation(reader, ScriptedEngine(), tmp_path / "chats")
        assert "can't be written to" in await apology(second, "/story dinner")
        assert "can't be written to" in await apology(second, "/settings level A1")
        assert "1. Title 1" in await second("/history")


async def test_a_stopped_story_is_not_told_later(chat: Conversation) -> None:
    chat.engine.plan.append(SLOW)
    caller = Caller("console", "ann", "console:1", "t")
    task = asyncio.ensure_future(chat.dispatcher.handle(caller, "/story Tom"))
    while not chat.engine.requests:
        await asyncio.sleep(0.005)
    task.cancel(CANCELLED)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await chat.store.stories.pending() == []
    assert chat.engine.left == 1


async def test_what_a_killed_chat_left_is_told_by_the_next(
    chat: Conversation, store: Store, tmp_path: Path
) -> None:
    chat.engine.plan.append(SLOW)
    task = asyncio.ensure_future(chat("/story Tom, dinner"))
    while not chat.engine.requests:
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(await store.stories.pending("console:")) == 1
    # The first chat still runs as far as the second can see: its story is left alone.
    second = Conversation(store, chat.engine, tmp_path / "chats")
    assert await second.run() == ""
    chat.session.close()
    third = Conversation(store, chat.engine, tmp_path / "chats")
    answer = await third.run()
    assert "2/2 words: Tom, dinner" in answer
    assert "You asked for this before the chat was closed" in answer
    assert await third.run() == ""
    assert "1. Title 2" in await third("/history")


async def test_two_chats_at_once_keep_their_stories_apart(
    chat: Conversation, store: Store, tmp_path: Path
) -> None:
    other = Conversation(store, chat.engine, tmp_path / "chats")
    lines = [f"/story word{number}" for number in range(8)]
    answers = await asyncio.gather(chat.run(*lines), other.run(*(line + "b" for line in lines)))
    for number in range(8):
        assert f"1/1 word: word{number} →" in answers[0]
        assert f"1/1 word: word{number}b →" in answers[1]
    assert "word7s" in await chat("/again")
    assert "word7bs" in await other("/again")


async def test_a_store_that_is_gone_is_an_apology(
    chat: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*args: object) -> object:
        raise StorageError("something new")

    monkeypatch.setattr(chat.store.people, "resolve", broken)
    assert "could not reach my notes" in await chat("/story Tom")
    monkeypatch.undo()
    assert "1/1 word" in await chat("/story Tom")
