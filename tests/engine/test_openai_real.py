"""The engine in front of `transformers serve`, which has the shipped model: words, seeds, leaving."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine.config import EngineSettings
from engine.registry import SHIPPED
from engine.schema import StoryResult
from engine.service import StoryService
from tests.engine.running import running, until

WORDS = ["dinner", "umbrella"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server of another project with the shipped weights."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log"
    program = Path(sys.executable).with_name("transformers")
    place = ("--host", "127.0.0.1", "--port", str(port), "--device", "cpu")
    env = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [program, "serve", SHIPPED / "storyteller", *place], env=env, stdout=out, stderr=out
        )
    url = f"http://127.0.0.1:{port}"
    until = time.monotonic() + 120
    while True:
        try:
            httpx.get(f"{url}/health")
            break
        except httpx.ConnectError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
    yield url
    process.kill()
    process.wait()


@pytest.fixture
async def engine(server: str, tmp_path: Path) -> AsyncIterator[tuple[StoryService, httpx.AsyncClient]]:
    service = StoryService(
        EngineSettings(
            _env_file=None, backend="openai", backend_url=server, backend_drafts=2, models_dir=tmp_path
        )
    )
    async with running(service) as url, httpx.AsyncClient(base_url=url, timeout=120) as client:
        assert (await client.get("/readyz")).status_code == 200
        yield service, client
    await service.aclose(0.1)


async def told(client: httpx.AsyncClient, **request: Any) -> StoryResult:
    answer = await client.post("/v1/stories", json=request)
    assert answer.status_code == 200, answer.text
    return StoryResult.model_validate(answer.json())


async def test_stories_of_a_real_server(engine: tuple[StoryService, httpx.AsyncClient]) -> None:
    service, client = engine
    asked = {"words": WORDS, "length": "short", "level": "A2"}
    story = await told(client, **asked, seed=3)
    assert story.words_missed == []
    assert (story.model, story.n) == ("storyteller", 2)
    assert story.title
    assert not story.text.startswith(story.title)
    assert len(story.text.split()) > 12
    one = {"words": ["dog"], "length": "short", "n_candidates": 1}
    first, again, other = [await told(client, **one, seed=seed) for seed in (3, 3, 4)]
    assert (again.title, again.text) == (first.title, first.text) != (other.title, other.text)
    plain = (await client.post("/v1/generate", json={"prompt": "The old man", "length": 8, "seed": 1})).json()
    assert plain["text"].startswith("The old man")
    assert plain["tokens"] == 8

    leaving = asyncio.create_task(client.post("/v1/stories", json={"decoding": {"max_new_tokens": 400}}))
    await until(lambda: service.gauges()["running_rows"] == 2, 10)
    leaving.cancel()
    await until(lambda: service.gauges()["requests"] == 0, 2)
    # The server writes one text at a time: this one's turn comes because the other was stopped.
    async with asyncio.timeout(30):
        assert (await told(client, kind="sentence", words=["cat"])).words_missed == []
