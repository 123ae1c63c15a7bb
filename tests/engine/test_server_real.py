"""The whole engine, a process with a tiny real model: stories, leaving, overload, fairness, the end."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from engine.client import EngineClient
from engine.errors import ModelUnknown, Overloaded, ShuttingDown, UnsuitableWords
from engine.schema import (
    Decoding,
    DoneEvent,
    ErrorEvent,
    Length,
    PlainRequest,
    QueuedEvent,
    StoryRequest,
    StoryResult,
)
from tests import tiny_model

ROWS = 8
WAITING = 16


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_model.build(folder / "storyteller")
    return folder


@pytest.fixture(scope="module")
def process(models: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    settings = {"MODELS_DIR": models, "PORT": port, "THREADS": 1, "MAX_ROWS": ROWS, "MAX_WAITING": WAITING}
    env = os.environ | {f"WORDTALE_ENGINE_{name}": str(value) for name, value in settings.items()}
    command = [sys.executable, "-P", "-m", "engine", "serve", "--stop-with-parent"]
    started = subprocess.Popen(command, env=env | {"OMP_NUM_THREADS": "1"}, stdin=subprocess.PIPE, cwd=models)
    yield started, f"http://127.0.0.1:{port}"
    started.kill()
    started.wait()


@pytest.fixture
async def client(process: tuple[subprocess.Popen[bytes], str]) -> AsyncIterator[EngineClient]:
    async with EngineClient(process[1]) as client:
        async with asyncio.timeout(90):
            while not await client.ready():
                await asyncio.sleep(0.05)
        yield client


def story(seed: int, *, tokens: int = 48, n: int = 2, person: str | None = None) -> StoryRequest:
    return StoryRequest(
        words=["Tom", "dinner"],
        length=Length.SHORT,
        seed=seed,
        n_candidates=n,
        person=person,
        decoding=Decoding(max_new_tokens=tokens),
    )


async def gauge(client: EngineClient, name: str) -> float:
    async with httpx.AsyncClient(base_url=client.base_url) as http:
        lines = (await http.get("/metrics")).text.splitlines()
    (line,) = [line for line in lines if line.startswith(f"wordtale_engine_{name} ")]
    return float(line.split()[1])


async def quiet(client: EngineClient, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while await gauge(client, "running_rows") + await gauge(client, "queue_depth"):
            await asyncio.sleep(0.02)


async def test_the_same_seed_gives_the_same_story_in_both_forms(client: EngineClient) -> None:
    whole = await client.story(story(7))
    events = [event async for event in client.stream(story(7))]
    done = events[-1]
    assert isinstance(done, DoneEvent)
    assert done.result.text == whole.text == "".join(event.delta for event in events if event.event == "text")
    assert whole.text
    assert (whole.model, whole.seed, whole.n) == ("storyteller", 7, 2)


async def test_refusals_models_lexicon_and_plain_text(client: EngineClient) -> None:
    with pytest.raises(ModelUnknown, match="storyteller"):
        await client.story(StoryRequest(model="storytelle"))
    with pytest.raises(UnsuitableWords):
        await client.story(StoryRequest(words=["porn"]))
    assert {model.name for model in await client.models()} == {"storyteller"}
    assert "dinners" in (await client.lexicon(["dinner"]))[0].forms
    plain = await client.generate(PlainRequest(prompt="Tom ", length=8, seed=1))
    assert plain.text.startswith("Tom ")


@pytest.mark.parametrize("stream", [True, False])
async def test_people_who_leave_free_their_rows(client: EngineClient, stream: bool) -> None:
    async def ask(number: int) -> None:
        request = story(number, tokens=512, n=ROWS)
        if stream:
            async for _ in client.stream(request):
                pass
        else:
            await client.story(request)

    people = [asyncio.create_task(ask(number)) for number in range(WAITING)]
    async with asyncio.timeout(20):
        while not await gauge(client, "running_rows"):
            await asyncio.sleep(0.02)
    for person in people:
        person.cancel()
    await asyncio.gather(*people, return_exceptions=True)
    await quiet(client, seconds=2)
    async with asyncio.timeout(10):
        assert (await client.story(story(1, n=1))).text


async def test_one_too_many_is_refused_at_once(client: EngineClient) -> None:
    people = [asyncio.create_task(client.story(story(number, tokens=512, n=ROWS))) for number in range(60)]
    async with asyncio.timeout(30):
        while await gauge(client, "queue_depth") < WAITING:
            await asyncio.sleep(0.02)
    began = time.monotonic()
    with pytest.raises(Overloaded) as refused:
        await client.story(story(1))
    assert time.monotonic() - began < 2
    assert refused.value.retry_after
    for person in people:
        person.cancel()
    ends = await asyncio.gather(*people, return_exceptions=True)
    assert {type(end) for end in ends} <= {Overloaded, asyncio.CancelledError}
    await quiet(client, seconds=2)


async def test_one_person_asking_a_hundred_times_delays_another_by_a_turn_at_most(
    client: EngineClient,
) -> None:
    order: list[str] = []

    async def ask(person: str, number: int) -> None:
        try:
            await client.story(story(number, n=ROWS, person=person))
        except Overloaded:
            order.append("refused")
        else:
            order.append(person)

    flood = [asyncio.create_task(ask("busy", number)) for number in range(100)]
    async with asyncio.timeout(60):
        while len(order) < 100 - WAITING // 2 - 2:
            await asyncio.sleep(0.02)
    async with asyncio.timeout(60), aclosing(client.stream(story(1, n=ROWS, person="other"))) as events:
        told = [event async for event in events]
    assert isinstance(told[-1], DoneEvent)
    # Eight of the busy person's wait; turns go round.
    assert all(event.position <= 1 for event in told if isinstance(event, QueuedEvent))
    for task in flood:
        task.cancel()
    await asyncio.gather(*flood, return_exceptions=True)
    await quiet(client, seconds=2)


def test_a_model_is_added_by_command(models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from engine.cli import models_app

    monkeypatch.setenv("WORDTALE_ENGINE_MODELS_DIR", str(tmp_path))
    added = CliRunner().invoke(models_app, ["add", str(models / "storyteller"), "--name", "mine"])
    assert added.exit_code == 0, added.output
    assert "mine" in CliRunner().invoke(models_app, ["list"]).output


async def test_a_busy_engine_ends_within_eight_seconds(
    client: EngineClient, process: tuple[subprocess.Popen[bytes], str]
) -> None:
    events = client.stream(story(1, tokens=200, n=ROWS))
    waiting = [asyncio.create_task(client.story(story(number, tokens=64, n=ROWS))) for number in range(4)]
    async with asyncio.timeout(20):
        while not await gauge(client, "queue_depth"):
            await asyncio.sleep(0.02)
    began = time.monotonic()
    process[0].terminate()
    last = [event async for event in events][-1]
    assert isinstance(last, DoneEvent) or (isinstance(last, ErrorEvent) and last.code == "shutting_down")
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(end, StoryResult | ShuttingDown) for end in ends)
    assert await asyncio.to_thread(process[0].wait, 10) == 0
    assert time.monotonic() - began < 8.5
