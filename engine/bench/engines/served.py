"""A real engine process: how long it takes to be ready, and its memory before and after stories.

Asks over HTTP as any client does; knows nothing of the engine's inside.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import httpx
import psutil

from engine.remote import EngineClient
from engine.schema import StoryRequest

READY_SECONDS = 120.0
POLL_SECONDS = 0.02
END_SECONDS = 20.0


@dataclass(frozen=True)
class Served:
    """`torch` is None where the system doesn't say what a process has loaded."""

    cold_start_s: float
    rss_ready_mb: float
    rss_mb: float
    torch: bool | None


async def serve_once(environment: Mapping[str, str], requests: Sequence[StoryRequest]) -> Served:
    """Start `wordtale engine serve`, ask for all stories at once, end it.

    Raises TimeoutError when it isn't ready in time, RuntimeError when it ends before.
    """
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "engine", "serve", "--stop-with-parent", "--port", str(port)]
    began = time.perf_counter()
    process = await asyncio.to_thread(
        subprocess.Popen,
        command,
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        await _ready(process, url)
        seconds = time.perf_counter() - began
        seen = psutil.Process(process.pid)
        before = seen.memory_info().rss
        async with EngineClient(url) as client:
            await asyncio.gather(*map(client.story, requests), return_exceptions=True)
        return Served(seconds, before / 2**20, seen.memory_info().rss / 2**20, _has_torch(seen))
    finally:
        await asyncio.to_thread(_end, process)


async def _ready(process: subprocess.Popen[bytes], url: str) -> None:
    async with asyncio.timeout(READY_SECONDS), httpx.AsyncClient(base_url=url, trust_env=False) as http:
        while True:
            if process.poll() is not None:
                raise RuntimeError(f"the engine ended with status {process.returncode} before it was ready")
            try:
                if (await http.get("/readyz")).status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(POLL_SECONDS)


def _has_torch(process: psutil.Process) -> bool | None:
    try:
        return any("libtorch" in place.path for place in process.memory_maps())
    except (AttributeError, psutil.Error):
        return None


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
