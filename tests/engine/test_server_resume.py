"""Stories asked for again: joined, resumed after a broken connection, stopped; each is written once."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress

import httpx
import pytest

from engine.client import EngineClient, EngineUnavailable
from engine.schema import Decoding, DoneEvent, StoryRequest, TextEvent
from tests.engine.running import running, until
from tests.engine.scripted import ScriptedService
from tests.engine.test_server import messages_of, over_asgi

EVENTS = {"Accept": "text/event-stream"}


async def test_a_repeated_request_id_joins_the_run_and_then_gets_its_story() -> None:
    service = ScriptedService(delay=0.05)
    async with running(service) as url, httpx.AsyncClient(base_url=url) as http:
        story = {"request_id": "turn-1", "words": ["Tom"]}
        together = await asyncio.gather(*(http.post("/v1/stories", json=story) for _ in range(3)))
        later = await http.post("/v1/stories", json=story)
        events = await http.post("/v1/stories", json=story, headers={"Accept": "text/event-stream"})
        other = await http.post("/v1/stories", json=story | {"words": ["Ann"]})
    assert service.started == 1
    assert len({answer.text for answer in (*together, later)}) == 1
    deltas = [json.loads(message["data"]).get("delta", "") for message in messages_of(events.text)]
    assert "".join(deltas) == later.json()["text"]
    assert (other.status_code, other.json()["code"]) == (422, "invalid_request")
    assert other.json()["message"].startswith("request_id: another request has had this one")


async def test_a_refused_request_id_may_be_tried_again() -> None:
    service = ScriptedService()
    async with running(service) as url, httpx.AsyncClient(base_url=url) as http:
        service.ready = False
        refused = await http.post("/v1/stories", json={"request_id": "turn-1"})
        service.ready = True
        again = await http.post("/v1/stories", json={"request_id": "turn-1"})
    assert (refused.status_code, again.status_code) == (503, 200)


async def test_one_of_two_followers_may_leave() -> None:
    service = ScriptedService(delay=0.05)
    async with running(service) as url, httpx.AsyncClient(base_url=url) as http:
        story = {"request_id": "turn-1", "decoding": {"max_new_tokens": 8}}
        first, second = (asyncio.create_task(http.post("/v1/stories", json=story)) for _ in range(2))
        await until(lambda: service.running == 1, 2)
        await asyncio.sleep(0.05)
        first.cancel()
        assert (await second).status_code == 200
    assert service.finished == 1


async def test_the_header_names_a_request_as_its_body_does() -> None:
    service = ScriptedService()
    await service.start()
    async with over_asgi(service) as http:
        answers = [
            await http.post("/v1/stories", json=body, headers={"Idempotency-Key": key} if key else {})
            for body, key in (
                ({}, "turn-1"),
                ({}, '"turn-1"'),
                ({"request_id": "turn-1"}, None),
                ({"request_id": "turn-1"}, "turn-1"),
            )
        ]
        differing = await http.post(
            "/v1/stories", json={"request_id": "turn-1"}, headers={"Idempotency-Key": "turn-2"}
        )
        odd = await http.post("/v1/stories", json={}, headers={"Idempotency-Key": "turn 1"})
    assert service.started == 1
    assert {answer.json()["request_id"] for answer in answers} == {"turn-1"}
    assert (
        differing.json()["message"] == "Idempotency-Key and request_id differ: give one of them, or the same"
    )
    assert (differing.status_code, odd.status_code) == (422, 422)


async def test_only_what_is_missing_is_sent_again() -> None:
    service = ScriptedService()
    await service.start()
    async with over_asgi(service) as http:
        whole = (await http.post("/v1/stories", json={"request_id": "t"}, headers=EVENTS)).text
        ids = [message["id"] for message in messages_of(whole)]
        for place, last in enumerate(ids):
            again = await http.post(
                "/v1/stories", json={"request_id": "t"}, headers=EVENTS | {"Last-Event-ID": last}
            )
            assert again.text == whole[whole.index(f"id: {last}") :].partition("\n\n")[2], place
        for odd in ("", "3", "other-3", ids[0] + "9" * 5000, "\xff", f"{ids[0]}x"):
            headers = {"Last-Event-ID": odd.encode("latin-1")}
            again = await http.post("/v1/stories", json={"request_id": "t"}, headers=EVENTS | headers)
            assert again.text in (whole, "")
    assert len(set(ids)) == len(ids) == 5
    assert service.started == 1


async def test_a_named_story_waits_for_its_reader_and_goes_on_live() -> None:
    service = ScriptedService(delay=0.05)
    story = {"request_id": "t", "decoding": {"max_new_tokens": 12}}
    async with running(service) as url, httpx.AsyncClient(base_url=url) as http:
        async with http.stream("POST", "/v1/stories", json=story, headers=EVENTS) as answer:
            first = await anext(answer.aiter_text())
        await until(lambda: service.running == 1, 1)
        last = messages_of(first)[-1]["id"]
        rest = await http.post("/v1/stories", json=story, headers=EVENTS | {"Last-Event-ID": last})
    messages = messages_of(first) + messages_of(rest.text)
    deltas = [json.loads(message["data"])["delta"] for message in messages[:-1]]
    assert len(deltas) == 12
    assert "".join(deltas) == json.loads(messages[-1]["data"])["result"]["text"]
    assert service.started == service.finished == 1


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_a_named_story_does_not_wait_for_ever(accept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.http.runs.RESUME_SECONDS", 0.3)
    service = ScriptedService(delay=0.05)
    story = {"request_id": "t", "decoding": {"max_new_tokens": 512}}
    async with running(service) as url, httpx.AsyncClient(base_url=url) as http:
        asked = asyncio.create_task(http.post("/v1/stories", json=story, headers={"Accept": accept}))
        await until(lambda: service.running == 1, 2)
        asked.cancel()
        await asyncio.sleep(0.1)
        assert service.running == 1
        await until(lambda: service.running == 0, 2)
    assert service.finished == 0


async def test_stopping_a_story_by_its_name() -> None:
    service = ScriptedService(delay=0.05)
    story = {"request_id": "t", "decoding": {"max_new_tokens": 512}}
    async with running(service) as url, httpx.AsyncClient(base_url=url) as http:
        async with http.stream("POST", "/v1/stories", json=story, headers=EVENTS) as events:
            pieces = events.aiter_text()
            await anext(pieces)
            whole = asyncio.create_task(http.post("/v1/stories", json=story))
            await asyncio.sleep(0.1)
            stopped = await http.delete("/v1/stories/t")
            await until(lambda: service.running == 0, 1)
            rest = "".join([piece async for piece in pieces])
        again = await http.delete("/v1/stories/t")
        assert ((await whole).status_code, (await whole).json()["code"]) == (410, "cancelled")
        assert messages_of(rest)[-1]["event"] == "error"
        short = await http.post("/v1/stories", json={"request_id": "t"})
        assert (await http.delete("/v1/stories/t")).status_code == 204
    assert (stopped.status_code, again.status_code, short.status_code) == (204, 404, 200)
    assert service.started == 2


@asynccontextmanager
async def cutting_proxy(url: str, seed: int) -> AsyncIterator[str]:
    """Pass connections on to `url`; cut each after a random number of bytes of its answer."""
    chance = random.Random(seed)
    port = int(url.rpartition(":")[2])

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: float) -> None:
        with suppress(OSError):
            while limit > 0 and (data := await reader.read(65536)):
                writer.write(data[: int(min(limit, len(data)))])
                limit -= len(data)
                await writer.drain()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)
        both = [
            asyncio.create_task(carry(reader, up_writer, float("inf"))),
            asyncio.create_task(carry(up_reader, writer, chance.randint(100, 3000))),
        ]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for end in (writer, up_writer):
            end.transport.abort() if chance.random() < 0.5 else end.close()
        await asyncio.gather(*both)

    server = await asyncio.start_server(pass_on, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_cut_connections_leave_no_gap_and_no_double(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.following.WAITS", (0.01,) * 12)
    service = ScriptedService(rows=30, delay=0.01)

    async def read(client: EngineClient, number: int) -> None:
        asked = StoryRequest(words=[f"word{number}"], decoding=Decoding(max_new_tokens=60))
        events = [event async for event in client.stream(asked)]
        assert isinstance(events[-1], DoneEvent)
        shown = "".join(event.delta for event in events if isinstance(event, TextEvent))
        assert shown == events[-1].result.text
        assert shown.count(f"word{number}") == 60
        assert (await client.story(asked.model_copy(update={"request_id": f"t{number}"}))).text == shown

    async with running(service) as url, cutting_proxy(url, seed=7) as proxy, EngineClient(proxy) as client:
        await asyncio.gather(*(read(client, number) for number in range(15)))
    assert service.started == service.finished == 30


async def test_a_story_is_not_mixed_with_another_of_the_same_request() -> None:
    """An engine started anew knows nothing of the first half."""
    broken = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        mark = b"b" if broken.is_set() else b"a"
        broken.set()
        body = b'id: %s-0\nevent: text\ndata: {"event": "text", "delta": "Once"}\n\n' % mark
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
        writer.write(head + body)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with EngineClient(url) as client, aclosing(client.stream(StoryRequest())) as events:
            assert await anext(events) == TextEvent(delta="Once")
            with pytest.raises(EngineUnavailable, match="half way"):
                await anext(events)


@pytest.mark.parametrize("stream", [True, False])
async def test_two_hundred_readers_with_a_name_who_leave_free_their_rows_at_once(stream: bool) -> None:
    service = ScriptedService(rows=200, delay=0.1)

    async def ask(client: EngineClient, number: int) -> None:
        request = StoryRequest(request_id=f"t{number}", decoding=Decoding(max_new_tokens=512))
        if stream:
            async for _ in client.stream(request):
                pass
        else:
            await client.story(request)

    async with running(service) as url, EngineClient(url) as client:
        tasks = [asyncio.create_task(ask(client, number)) for number in range(200)]
        await until(lambda: service.running == 200, 20)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await until(lambda: service.running == 0, 3)
    assert service.finished == 0


async def test_closing_the_client_stops_its_stories() -> None:
    service = ScriptedService(delay=0.05)
    async with running(service) as url:
        client = EngineClient(url)
        events = client.stream(StoryRequest(decoding=Decoding(max_new_tokens=512)))
        await anext(events)
        await client.aclose()
        await until(lambda: service.running == 0, 1)
        with pytest.raises(EngineUnavailable):
            await anext(events)
