"""The engine as a process: loading, signals, a taken port, and what it writes to its log."""

from __future__ import annotations

import asyncio
import signal
import socket
import time

import httpx
import pytest

from engine.client import EngineClient
from engine.config import EngineSettings
from engine.schema import Decoding, DoneEvent, ErrorEvent, StoryRequest
from engine.serving import ServeError, listen
from tests.engine.running import Spawned, environment, spawned

LONG = StoryRequest(decoding=Decoding(max_new_tokens=512))


async def ready(engine: Spawned) -> None:
    async with asyncio.timeout(10), EngineClient(engine.url) as client:
        while not await client.ready():
            await asyncio.sleep(0.02)


async def ended(engine: Spawned, within: float) -> int:
    """Return the exit status; TimeoutError when the process lives longer than `within` seconds."""
    async with asyncio.timeout(within):
        return await engine.process.wait()


async def test_health_before_and_after_loading() -> None:
    async with spawned(environment(scripted_load_seconds=0.5)) as engine:
        async with httpx.AsyncClient(base_url=engine.url) as http:
            assert (await http.get("/healthz")).status_code == 200
            assert (await http.get("/readyz")).json()["state"] == "loading"
            early = await http.post("/v1/stories", json={})
            assert (early.status_code, early.json()["code"]) == (503, "not_ready")
        await ready(engine)


async def test_an_idle_engine_ends_at_once() -> None:
    async with spawned(environment()) as engine:
        await ready(engine)
        engine.process.send_signal(signal.SIGINT)
        assert await ended(engine, within=4) == 0


async def test_an_engine_ends_with_its_parent_even_while_loading() -> None:
    async with spawned(environment(scripted_load_seconds=60), "--stop-with-parent") as engine:
        assert engine.process.stdin is not None
        engine.process.stdin.close()
        assert await ended(engine, within=4) == 0


async def test_a_busy_engine_finishes_what_runs_and_refuses_new() -> None:
    async with spawned(environment()) as engine, EngineClient(engine.url) as client:
        await ready(engine)
        events = client.stream(StoryRequest(decoding=Decoding(max_new_tokens=100)))
        await anext(events)
        engine.process.terminate()
        async with asyncio.timeout(2):
            while await client.state() != "stopping":
                await asyncio.sleep(0.01)
        async with httpx.AsyncClient(base_url=engine.url) as http:
            for headers in ({}, {"Accept": "text/event-stream"}):
                refused = await http.post("/v1/stories", json={}, headers=headers)
                assert (refused.status_code, refused.json()["code"]) == (503, "shutting_down")
                assert "retry-after" in refused.headers
            assert (await http.get("/healthz")).status_code == 200
        assert isinstance([event async for event in events][-1], DoneEvent)
        assert await ended(engine, within=8) == 0


async def test_a_story_too_long_to_wait_for_is_ended_with_a_sentence() -> None:
    env = environment(scripted_drain_seconds=0.5, scripted_delay=0.1)
    async with spawned(env) as engine, EngineClient(engine.url) as client:
        await ready(engine)
        events = client.stream(LONG)
        await anext(events)
        engine.process.terminate()
        last = [event async for event in events][-1]
        assert isinstance(last, ErrorEvent)
        assert last.code == "shutting_down"
        assert await ended(engine, within=3) == 0


async def test_a_second_signal_ends_at_once() -> None:
    async with spawned(environment()) as engine, EngineClient(engine.url) as client:
        await ready(engine)
        events = client.stream(LONG)
        await anext(events)
        engine.process.terminate()
        async with asyncio.timeout(2):
            while await client.state() != "stopping":
                await asyncio.sleep(0.01)
        began = time.monotonic()
        engine.process.terminate()
        assert await ended(engine, within=4) == 128 + signal.SIGTERM
        assert time.monotonic() - began < 1
        await events.aclose()


async def test_a_taken_port_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with spawned(environment(port=port)) as engine:
            assert await ended(engine, within=4) == 1
    assert engine.lines == [f"The engine can't listen on 127.0.0.1:{port}: address already in use.\n"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_no_token_no_way_in_from_outside(host: str) -> None:
    with pytest.raises(ServeError, match="WORDTALE_ENGINE_TOKEN") as refused:
        listen(EngineSettings(_env_file=None, host=host, port=0, token=None))
    assert refused.value.code == 78


def test_an_address_that_is_not_ours_is_said() -> None:
    with pytest.raises(ServeError, match=r"can't listen on 192\.0\.2\.1:0: "):
        listen(EngineSettings(_env_file=None, host="192.0.2.1", port=0, token="t"))


async def test_with_a_token_other_addresses_are_allowed() -> None:
    async with spawned(environment(host="0.0.0.0", token="t")) as engine:
        await ready(engine)


async def test_a_model_that_cannot_be_loaded_ends_the_process() -> None:
    async with spawned(environment(scripted_load_seconds=-1)) as engine:
        assert await ended(engine, within=4) == 1
    reasons = [record.get("reason") for record in engine.records()]
    assert "There is no model in the folder." in reasons


async def test_hung_decoding_is_not_ready() -> None:
    async with spawned(environment()) as engine, EngineClient(engine.url) as client:
        await ready(engine)
        await client.story(StoryRequest(title="hang"))
        async with asyncio.timeout(5):
            while await client.state() != "unhealthy":
                await asyncio.sleep(0.02)


async def test_the_log_holds_no_words_and_no_forged_lines() -> None:
    forged = '\r\n{"event": "forged", "level": "info"}\r\n\u2028'
    async with spawned(environment()) as engine:
        await ready(engine)
        async with httpx.AsyncClient(base_url=engine.url) as http:
            told = f"Zanzibar{forged}"
            story = {"words": ["Zanzibar", forged[:40]], "title": told, "parent": told}
            assert (await http.post("/v1/stories", json=story)).status_code == 200
            crash = await http.post("/v1/stories", json={"title": "crash", "words": ["Zanzibar"]})
            assert crash.status_code == 500
            for field in ("model", "request_id", "person", f"a{forged}"):
                await http.post("/v1/stories", json={field: told})
            await http.get("/Zanzibar%0d%0aforged", headers={"User-Agent": "Zanzibar"})
        engine.process.terminate()
        await ended(engine, within=4)
    events = [record["event"] for record in engine.records()]
    assert events.count("story") == 4
    assert "forged" not in events
    assert "Mallory" not in "".join(engine.lines)
    assert "Zanzibar" not in "".join(engine.lines)
