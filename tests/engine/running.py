"""An engine for a test: in this process under a real uvicorn, or as a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn

from engine.server import create_app
from tests.engine.scripted import ScriptedService

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "tests.engine.serve_scripted")


@asynccontextmanager
async def running(service: ScriptedService, token: str | None = None) -> AsyncIterator[str]:
    """Serve `service`, already started, on a free port; give its address."""
    await service.start()
    app = create_app(service, token=token)
    config = uvicorn.Config(app, http="h11", ws="none", lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        serving = asyncio.create_task(server._serve([listener]))
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        await serving


async def until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait for `condition`; TimeoutError when it does not hold within `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def environment(**settings: object) -> dict[str, str]:
    """Return an engine process' environment, its port free unless given; `scripted_…` is the script's."""
    engine = {
        name.upper() if name.startswith("scripted_") else f"WORDTALE_ENGINE_{name.upper()}": str(value)
        for name, value in settings.items()
    }
    return os.environ | {"PYTHONPATH": str(ROOT), "WORDTALE_ENGINE_PORT": "0"} | engine


class Spawned:
    """An engine process and what it said on stderr."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self.url = ""

    async def read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.lines.append(line.decode())
            if found := re.search(r"http://[0-9.:]+", self.lines[-1]):
                self.url = self.url or found.group()

    def records(self) -> list[dict[str, object]]:
        """Return the log lines, each of which must be one JSON object."""
        return [json.loads(line) for line in self.lines]


@asynccontextmanager
async def spawned(env: dict[str, str], *arguments: str) -> AsyncIterator[Spawned]:
    """Start the scripted engine as a process; give it once it listens. Killed at the end."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *arguments, env=env, cwd=ROOT, stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    engine = Spawned(process)
    reading = asyncio.create_task(engine.read())
    try:
        await until(lambda: bool(engine.url) or reading.done(), 30)
        yield engine
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading
