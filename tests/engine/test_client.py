"""The client: events, errors with their classes, lost connections, leaving early."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager

import httpx
import pytest

from engine.client import EngineClient, EngineError, EngineUnavailable
from engine.errors import DeadlineExceeded, InternalError, Overloaded, Unauthorised, UnsuitableWords
from engine.schema import Decoding, DoneEvent, ErrorEvent, PlainRequest, StoryRequest, TextEvent
from tests.engine.running import environment, running, spawned, until
from tests.engine.scripted import MODEL, UNSUITABLE, ScriptedService

LONG = StoryRequest(decoding=Decoding(max_new_tokens=512))


@asynccontextmanager
async def raw_server(*answers: bytes) -> AsyncIterator[str]:
    """Listen, say the answers one after another to whoever asks, and hang up."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for answer in answers:
            writer.write(answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def answering(status: int, **kwargs: object) -> EngineClient:
    return EngineClient(
        "http://engine", transport=httpx.MockTransport(lambda _: httpx.Response(status, **kwargs))
    )


async def test_stream_gives_text_and_then_the_story() -> None:
    async with running(ScriptedService()) as url, EngineClient(url) as client:
        events = [event async for event in client.stream(StoryRequest(words=["晚饭", "عشاء"]))]
    assert [type(event) for event in events] == [TextEvent] * 4 + [DoneEvent]
    assert "".join(event.delta for event in events[:-1]) == events[-1].result.text
    assert "晚饭 عشاء。\u2028\n" in events[-1].result.text


async def test_all_calls_give_wire_objects() -> None:
    async with running(ScriptedService(), token="t") as url, EngineClient(url, token="t") as client:
        assert (await client.story(StoryRequest(words=["Tom"]))).words_used == ["Tom"]
        assert (await client.generate(PlainRequest(prompt="So", length=1))).text == "So and so on"
        assert [model.name for model in await client.models()] == [MODEL]
        words = [f"word{number}" for number in range(450)]
        assert [entry.word for entry in await client.lexicon(words)] == words
        assert await client.lexicon([]) == []
        assert await client.ready()


async def test_errors_come_as_their_classes() -> None:
    service = ScriptedService(rows=1, waiting=0)
    async with running(service, token="t") as url, EngineClient(url, token="t") as client:
        with pytest.raises(UnsuitableWords):
            await client.story(StoryRequest(words=[UNSUITABLE]))
        with pytest.raises(Overloaded) as refused:
            await client.story(StoryRequest())
        assert refused.value.retry_after == 2.5
        events = [event async for event in client.stream(StoryRequest())]
        assert events == [refused.value.event()]
        async with EngineClient(url) as stranger:
            with pytest.raises(Unauthorised):
                await stranger.models()


async def test_retry_after_is_read_from_the_header_where_the_body_has_none() -> None:
    body = {"code": "overloaded", "message": "busy"}
    client = answering(429, json=body, headers={"Retry-After": "7"})
    with pytest.raises(Overloaded) as refused:
        await client.story(StoryRequest())
    assert refused.value.retry_after == 7


ALL_CALLS: Sequence[Callable[[EngineClient], object]] = [
    lambda client: client.story(StoryRequest()),
    lambda client: client.generate(PlainRequest()),
    lambda client: client.models(),
    lambda client: client.lexicon(["Tom"]),
    lambda client: anext(client.stream(StoryRequest())),
]


@pytest.mark.parametrize("call", ALL_CALLS)
async def test_nobody_there_is_unavailable(call: Callable[[EngineClient], object], free_address: str) -> None:
    async with EngineClient(free_address) as client:
        assert await client.state() == "absent"
        with pytest.raises(EngineUnavailable, match="not running"):
            await call(client)


@pytest.mark.parametrize("call", ALL_CALLS)
@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", b"SSH-2.0-x\r\n"])
async def test_a_connection_that_drops_is_unavailable(
    call: Callable[[EngineClient], object], answer: bytes
) -> None:
    async with raw_server(answer) as url, EngineClient(url) as client:
        with pytest.raises(EngineUnavailable, match="lost"):
            await call(client)


@pytest.mark.parametrize("call", ALL_CALLS)
async def test_another_program_is_told_apart(call: Callable[[EngineClient], object]) -> None:
    client = answering(403, text="<html>")
    assert await client.state() == "foreign"
    try:
        event = await call(client)
    except EngineError as error:
        event = error.event()
    assert isinstance(event, ErrorEvent)
    assert event.code == "unavailable"


async def test_an_answer_of_another_version_is_named() -> None:
    with pytest.raises(InternalError, match="another version"):
        await answering(200, json={"surprise": 1}).story(StoryRequest())


async def test_engine_killed_in_mid_story() -> None:
    async with spawned(environment()) as engine, EngineClient(engine.url) as client:
        await until_ready(client)
        events = client.stream(LONG)
        assert isinstance(await anext(events), TextEvent)
        engine.process.kill()
        with pytest.raises(EngineUnavailable):
            async for _ in events:
                pass


@pytest.mark.parametrize("leave", ["aclose", "cancel"])
async def test_leaving_early_frees_the_row(leave: str) -> None:
    service = ScriptedService()
    async with running(service) as url, EngineClient(url) as client:
        if leave == "aclose":
            async with aclosing(client.stream(LONG)) as events:
                await anext(events)
        else:
            task = asyncio.create_task(client.story(LONG))
            await until(lambda: service.running == 1, 2)
            task.cancel()
        await until(lambda: service.running == 0, 1)


async def test_a_story_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.remote.GRACE_SECONDS", 0.1)
    service = ScriptedService(delay=0.05)
    async with running(service) as url, EngineClient(url, timeout=0.2) as client:
        events = [event async for event in client.stream(LONG)]
        assert isinstance(events[-1], ErrorEvent)
        assert events[-1].code == "deadline"
        with pytest.raises(DeadlineExceeded):
            await client.story(LONG)
        await until(lambda: service.running == 0, 1)


async def test_a_silent_stream_is_kept_alive_by_pings_and_given_up_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("engine.following.SILENCE_SECONDS", 0.4)
    monkeypatch.setattr("engine.http.stories.FIRST_SECONDS", 0.1)
    monkeypatch.setattr("engine.http.stories.PING_SECONDS", 0.1)
    async with running(ScriptedService(delay=0.4)) as url, EngineClient(url) as client:
        events = [event async for event in client.stream(StoryRequest())]
        assert isinstance(events[-1], DoneEvent)
        monkeypatch.setattr("engine.http.stories.PING_SECONDS", 60)
        with pytest.raises(EngineUnavailable):
            [event async for event in client.stream(LONG)]


async def test_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with running(ScriptedService()) as url, EngineClient(url) as client:
        assert await client.ready()


def test_a_front_end_loads_no_server_and_no_model_library() -> None:
    heavy = "{'torch', 'transformers', 'fastapi', 'uvicorn', 'numpy', 'lemminflect'}"
    code = f"import sys, engine.client, engine.schema, engine.local; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.strip() == "set()"


async def until_ready(client: EngineClient) -> None:
    async with asyncio.timeout(10):
        while not await client.ready():
            await asyncio.sleep(0.02)


@pytest.fixture
async def free_address() -> str:
    async with raw_server() as url:
        return url
