"""Many people at a time: memory of a long line, and refusals while it stands."""

from __future__ import annotations

import asyncio
import json
import socket

import httpx
import psutil
import pytest

from tests.engine.running import environment, spawned

WAITING = 1000
LONGEST_BODY = json.dumps({"parent": "x" * 6000, "decoding": {"max_new_tokens": 512}})


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_a_thousand_waiting_cost_little_and_one_more_is_refused(accept: str) -> None:
    env = environment(max_rows=1, max_waiting=WAITING, scripted_delay=0.1)
    head = f"POST /v1/stories HTTP/1.1\r\nHost: e\r\nContent-Type: application/json\r\nAccept: {accept}\r\n"
    request = f"{head}Content-Length: {len(LONGEST_BODY)}\r\n\r\n{LONGEST_BODY}".encode()
    async with spawned(env) as engine, httpx.AsyncClient(base_url=engine.url, timeout=20) as http:

        async def waiting() -> float:
            figures = (await http.get("/metrics")).text.splitlines()
            (line,) = [line for line in figures if line.startswith("wordtale_engine_queue_depth ")]
            return float(line.split()[1])

        assert await waiting() == 0
        process = psutil.Process(engine.process.pid)
        before = process.memory_info().rss
        address = ("127.0.0.1", int(engine.url.rpartition(":")[2]))
        people = [socket.create_connection(address) for _ in range(WAITING + 1)]
        for person in people:
            person.sendall(request)
        async with asyncio.timeout(20):
            while await waiting() < WAITING:
                await asyncio.sleep(0.05)
        added = process.memory_info().rss - before
        began = asyncio.get_running_loop().time()
        refused = await http.post("/v1/stories", json={}, headers={"Accept": accept})
        took = asyncio.get_running_loop().time() - began
        for person in people:
            person.close()
        async with asyncio.timeout(5):
            while await waiting() > 0:
                await asyncio.sleep(0.05)
    assert refused.status_code == 429
    assert "retry-after" in refused.headers
    assert took < 0.5
    print(f"{added / 2**20:.1f} MiB for {WAITING} waiting, refused in {took * 1000:.0f} ms")
    assert added < 50 * 2**20
