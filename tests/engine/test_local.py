"""A local engine: used where one runs, else started, restarted and stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import psutil
import pytest

from engine.client import EngineUnavailable, LocalEngine
from engine.schema import StoryRequest
from tests.engine.running import COMMAND, ROOT, running, until
from tests.engine.scripted import ScriptedService


@pytest.fixture(autouse=True)
def _scripted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("WORDTALE_"):
            monkeypatch.delenv(name)


def local(tmp_path: Path, url: str | None = None, **kwargs: object) -> LocalEngine:
    command = (*COMMAND, "--stop-with-parent")
    return LocalEngine(url, command=command, log_path=tmp_path / "engine.log", start_seconds=20, **kwargs)


def free_url() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def engines(url: str) -> list[psutil.Process]:
    """Return the processes of ours that listen at `url`."""
    port = int(url.rpartition(":")[2])
    return [child for child in psutil.Process().children(recursive=True) if listens(child, port)]


def listens(process: psutil.Process, port: int) -> bool:
    """Whether a process listens at a port; one that lost the race for the port and ended does not."""
    try:
        return any(one.laddr.port == port and one.status == "LISTEN" for one in process.net_connections())
    except psutil.NoSuchProcess:
        return False


async def test_an_engine_is_started_restarted_and_stopped(tmp_path: Path) -> None:
    url = free_url()
    async with local(tmp_path, url, token="t") as engine:
        assert (await engine.client.story(StoryRequest(words=["Tom"]))).words_used == ["Tom"]
        (first,) = engines(url)
        first.kill()
        await engine.ensure()
        (second,) = engines(url)
        assert second.pid != first.pid
        await engine.client.story(StoryRequest())
    assert engines(url) == []
    assert not second.is_running()


async def test_a_running_engine_is_used_and_not_stopped(tmp_path: Path) -> None:
    async with running(ScriptedService()) as url:
        async with local(tmp_path, url) as engine:
            await engine.client.story(StoryRequest())
        async with local(tmp_path, url) as engine:
            await engine.client.story(StoryRequest())
    assert not engine.log_path.exists()


async def test_two_starting_at_a_time_share_one_engine(tmp_path: Path) -> None:
    url = free_url()
    first, second = local(tmp_path, url), local(tmp_path, url)
    await asyncio.gather(first.__aenter__(), second.__aenter__())
    assert len(engines(url)) == 1
    await first.__aexit__(None, None, None)
    await second.ensure()
    await second.client.story(StoryRequest())
    await second.__aexit__(None, None, None)
    assert engines(url) == []


async def test_a_hung_engine_of_ours_is_replaced(tmp_path: Path) -> None:
    url = free_url()
    async with local(tmp_path, url) as engine:
        (hung,) = engines(url)
        async for _ in engine.client.stream(StoryRequest(title="hang")):
            pass
        await engine.ensure()
        assert await engine.client.ready()
        assert not hung.is_running()


async def test_the_address_comes_from_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORDTALE_ENGINE_HOST", "0.0.0.0")
    monkeypatch.setenv("WORDTALE_ENGINE_PORT", "8123")
    assert local(tmp_path).address.url == "http://127.0.0.1:8123"
    monkeypatch.setenv("WORDTALE_ENGINE_HOST", "::1")
    assert local(tmp_path).address.url == "http://[::1]:8123"
    monkeypatch.setenv("WORDTALE_ENGINE_HOST", "127.0.0.1")
    monkeypatch.setenv("WORDTALE_ENGINE_PORT", "0")
    assert not local(tmp_path).address.url.endswith(":0")


async def test_what_cannot_work_is_said(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="No engine answers"):
        await local(tmp_path, "http://engine.invalid:1").ensure()
    log, before = tmp_path / "folder" / "log", psutil.Process().children()
    broken = LocalEngine(free_url(), command=[sys.executable, "-c", "exit(1)"], log_path=log)
    with pytest.raises(EngineUnavailable, match=r"does not start; see .*log"):
        await broken.ensure()
    slow = LocalEngine(free_url(), command=[sys.executable, "-c", "input()"], log_path=log, start_seconds=0.3)
    with pytest.raises(EngineUnavailable, match="not ready after"):
        async with slow:
            pass
    assert psutil.Process().children() == before


async def test_another_program_at_the_address(tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(EngineUnavailable, match="Another program"):
            await local(tmp_path, f"http://127.0.0.1:{port}").ensure()


async def test_killing_the_program_stops_its_engine(tmp_path: Path) -> None:
    url = free_url()
    code = f"""
import asyncio
from pathlib import Path
from engine.client import LocalEngine
async def main():
    async with LocalEngine({url!r}, command={[*COMMAND, "--stop-with-parent"]!r}, log_path=Path("log")):
        print("ready", flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""
    program = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    assert program.stdout is not None
    assert await program.stdout.readline() == b"ready\n"
    (engine,) = engines(url)
    program.send_signal(signal.SIGKILL)
    await program.wait()
    await until(lambda: not engine.is_running() or engine.status() == psutil.STATUS_ZOMBIE, 8)


async def test_a_large_log_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.local.LOG_BYTES", 10)
    (tmp_path / "engine.log").write_text("much more than ten bytes")
    async with local(tmp_path, free_url()):
        pass
    assert (tmp_path / "engine.old.log").read_text() == "much more than ten bytes"
    assert "listening" in (tmp_path / "engine.log").read_text()
