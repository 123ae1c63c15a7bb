"""The supervisor: processes that end or hang are started again, and none is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from bot.config import BotSettings
from bot.supervisor import EXIT_SETTINGS, Kept, Supervisor, engine, front_ends, wait_seconds
from engine.client import EngineAddress, EngineClient
from engine.schema import Decoding, DoneEvent, StoryRequest
from tests.engine.running import COMMAND, ROOT, running
from tests.engine.scripted import ScriptedService

PROBE_SECONDS = 0.1


@pytest.fixture(autouse=True)
def _quick_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.supervisor.PROBE_SECONDS", PROBE_SECONDS)


@pytest.fixture
def address() -> EngineAddress:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return EngineAddress(f"http://127.0.0.1:{probe.getsockname()[1]}")


@asynccontextmanager
async def supervised(
    address: EngineAddress, *others: Kept
) -> AsyncIterator[tuple[Supervisor, EngineClient, asyncio.Task[int]]]:
    """Supervise a scripted engine and others; nothing of it is left afterwards."""
    async with EngineClient(address.url) as client:
        kept = [*others, engine(client, (*COMMAND, "--stop-with-parent"))]
        supervisor = Supervisor(kept, address.environment | {"PYTHONPATH": str(ROOT)})
        task = asyncio.create_task(supervisor.run())
        try:
            yield supervisor, client, task
        finally:
            supervisor.stop()
            await task
    assert psutil.Process().children(recursive=True) == []


def sleeper(name: str, code: str = "import time; time.sleep(60)") -> Kept:
    return Kept(name, (sys.executable, "-c", code))


async def answering(client: EngineClient) -> None:
    """Wait until the engine is ready, and has been long enough for its supervisor to know."""
    async with asyncio.timeout(20):
        while not await client.ready():
            await asyncio.sleep(0.05)
    await asyncio.sleep(3 * PROBE_SECONDS)


async def replaced(process: psutil.Process, seconds: float) -> None:
    """Wait until the process is gone."""
    async with asyncio.timeout(seconds):
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.05)


def engine_process(supervisor: Supervisor) -> psutil.Process:
    return psutil.Process(supervisor.processes["engine"].pid)


@pytest.mark.parametrize("how", ["killed", "frozen", "blocked", "decoding hung"])
async def test_an_engine_that_dies_or_hangs_is_started_again(
    address: EngineAddress, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "blocked":
        monkeypatch.setattr("bot.supervisor.SILENT_SECONDS", 1)
    async with supervised(address) as (supervisor, client, _):
        await answering(client)
        broken = engine_process(supervisor)
        request = None
        if how == "killed":
            broken.kill()
        elif how == "frozen":
            broken.suspend()
        else:
            title = {"blocked": "block", "decoding hung": "hang"}[how]
            request = asyncio.create_task(client.story(StoryRequest(title=title)))
        await replaced(broken, seconds=5.5)
        await answering(client)
        assert engine_process(supervisor).pid != broken.pid
        if request is not None:
            await asyncio.gather(request, return_exceptions=True)


async def test_an_orderly_end_lets_a_running_story_finish(address: EngineAddress) -> None:
    async with supervised(address, sleeper("front end")) as (_, client, task):
        await answering(client)
        events = client.stream(StoryRequest(decoding=Decoding(max_new_tokens=150)))
        await anext(events)
        began = time.monotonic()
        os.kill(os.getpid(), signal.SIGTERM)
        assert isinstance([event async for event in events][-1], DoneEvent)
        assert await task == 0
        assert time.monotonic() - began < 8


async def test_stubborn_processes_and_their_children_are_killed(
    address: EngineAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.supervisor.STOP_SECONDS", 0.5)
    stubborn = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); time.sleep(60)"
    )
    async with supervised(address, sleeper("stubborn", stubborn)) as (supervisor, client, _):
        await answering(client)
        async with asyncio.timeout(5):
            while not psutil.Process(supervisor.processes["stubborn"].pid).children():
                await asyncio.sleep(0.02)


async def test_a_second_signal_ends_at_once(address: EngineAddress) -> None:
    async with supervised(address) as (_, client, task):
        await answering(client)
        events = client.stream(StoryRequest(decoding=Decoding(max_new_tokens=512)))
        await anext(events)
        os.kill(os.getpid(), signal.SIGINT)
        async with asyncio.timeout(2):
            while await client.state() != "stopping":
                await asyncio.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)
        async with asyncio.timeout(1):
            await task
        await events.aclose()


async def test_a_front_end_that_ends_is_started_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = f"open({str(log)!r}, 'a').write('started '); exit(3)"
    supervisor = Supervisor([sleeper("front end", code)])
    task = asyncio.create_task(supervisor.run())
    async with asyncio.timeout(10):
        while not log.exists() or log.read_text().count("started") < 2:
            await asyncio.sleep(0.05)
    supervisor.stop()
    assert await task == 0


async def test_wrong_settings_are_not_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    supervisor = Supervisor([sleeper("front end", f"exit({EXIT_SETTINGS})"), sleeper("other")])
    async with asyncio.timeout(10):
        assert await supervisor.run() == EXIT_SETTINGS
    assert "front end can't run with these settings" in caplog.text
    assert psutil.Process().children() == []


async def test_an_engine_that_runs_already_is_used(address: EngineAddress) -> None:
    service = ScriptedService()
    async with running(service) as url, supervised(EngineAddress(url)) as (supervisor, client, _):
        await asyncio.sleep(0.05)
        assert await client.ready()
        assert supervisor.processes == {}


def test_waiting_times_grow_to_half_a_minute() -> None:
    assert [wait_seconds(failures) for failures in range(9)] == [0, 0.5, 1, 2, 4, 8, 16, 30, 30]
    assert wait_seconds(10_000) == 30


def test_only_configured_front_ends_are_started() -> None:
    class WithTelegram(BotSettings):
        telegram_token: str | None = "t"
        discord_token: str | None = None

    assert front_ends(BotSettings(_env_file=None)) == []
    (telegram,) = front_ends(WithTelegram(_env_file=None))
    assert (telegram.name, telegram.command[-2:]) == ("telegram", ("bot", "telegram"))
    assert not telegram.last
