"""Clients that leave, streaming or not, free their rows at once."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.engine.running import running, until
from tests.engine.scripted import ScriptedService

CLIENTS = 200
LONG = {"decoding": {"max_new_tokens": 512}}


async def abandon(http: httpx.AsyncClient, path: str, body: dict[str, object], accept: str) -> None:
    async with (
        asyncio.timeout(30),
        http.stream("POST", path, json=body, headers={"Accept": accept}) as answer,
    ):
        async for _ in answer.aiter_bytes():
            pass


@pytest.mark.parametrize(
    ("path", "body", "accept"),
    [
        ("/v1/stories", LONG, "text/event-stream"),
        ("/v1/stories", LONG, "application/json"),
        ("/v1/generate", {"length": 512}, "application/json"),
    ],
)
async def test_many_clients_leaving_leave_no_work_behind(
    path: str, body: dict[str, object], accept: str
) -> None:
    service = ScriptedService(rows=CLIENTS, delay=0.1)
    unlimited = httpx.Limits(max_connections=None)
    async with running(service) as url, httpx.AsyncClient(base_url=url, limits=unlimited, timeout=30) as http:
        clients = [asyncio.create_task(abandon(http, path, body, accept)) for _ in range(CLIENTS)]
        await until(lambda: service.running == CLIENTS, 20)
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        await until(lambda: service.running == 0, 1)
        answer = await http.post("/v1/stories", json={})
    assert answer.status_code == 200
    assert service.finished == 1


async def test_those_waiting_may_leave_too() -> None:
    service = ScriptedService(rows=1, waiting=50)
    async with running(service) as url, httpx.AsyncClient(base_url=url) as http:
        clients = [
            asyncio.create_task(abandon(http, "/v1/stories", LONG, "text/event-stream")) for _ in range(20)
        ]
        await until(lambda: service.waiting == 19, 5)
        for client in clients:
            client.cancel()
        await until(lambda: (service.running, service.waiting) == (0, 0), 1)


async def test_a_slow_reader_still_gets_the_whole_story() -> None:
    service = ScriptedService(delay=0)
    async with running(service) as url, httpx.AsyncClient(base_url=url) as http:
        accept = {"Accept": "text/event-stream"}
        async with http.stream("POST", "/v1/stories", json=LONG, headers=accept) as answer:
            await until(lambda: service.finished == 1, 5)
            text = (await answer.aread()).decode()
    assert text.count("event: text") == 512
