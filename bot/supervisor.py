"""`wordtale run`: the engine and every configured front end as processes that are kept alive.

Knows processes, health checks and waiting times; knows nothing of stories or platforms.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from bot.config import BotSettings
from engine.client import EngineAddress, EngineClient

START_SECONDS = 120.0
"""An engine not ready after so long is started again."""
SILENT_START_SECONDS = 15.0
SILENT_SECONDS = 3.0
"""Longest silence of an engine, while it loads and once it was ready: hung is noticed within 5 s."""
PROBE_SECONDS = 0.5
STABLE_SECONDS = 60.0
"""A process that lived this long starts again without waiting."""
FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 30.0
ENGINE_LAST_SECONDS = 1.5
"""Front ends stop first; the engine is told after so long at the latest."""
STOP_SECONDS = 9.5
EXIT_SETTINGS = 78
"""A process ending so says that its settings are wrong: starting again would not help."""

_log = logging.getLogger("wordtale.run")


@dataclass(frozen=True)
class Kept:
    """A process to keep alive.

    `trouble` returns, with the reason, once the process must be ended; `vacant` says whether its place is
    free, so that it can be started; `last` ones are ended after the others.
    """

    name: str
    command: Sequence[str]
    trouble: Callable[[], Coroutine[Any, Any, str]] | None = None
    vacant: Callable[[], Coroutine[Any, Any, bool]] | None = None
    last: bool = False


FRONT_ENDS: dict[str, str] = {"telegram": "telegram_token", "discord": "discord_token", "web": "web_port"}
"""Front end (as in `wordtale bot NAME`) → the setting that configures it."""


def run(settings: BotSettings) -> int:
    """Keep engine and front ends running until SIGTERM or Ctrl-C; return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    return asyncio.run(_run(settings))


async def _run(settings: BotSettings) -> int:
    address = EngineAddress.configured()
    async with EngineClient(address.url, token=address.token) as client:
        kept = front_ends(settings)
        if not kept:
            _log.info("no front end is configured; see .env.example")
        if address.is_here:
            kept.append(engine(client))
        else:
            _log.info("the engine at %s is on another machine: none is started here", address.url)
        return await Supervisor(kept, address.environment).run() if kept else EXIT_SETTINGS


def engine(client: EngineClient, command: Sequence[str] | None = None) -> Kept:
    """Return the engine at the client's address as a process to keep."""
    own = (sys.executable, "-P", "-m", "engine", "serve", "--stop-with-parent")

    async def vacant() -> bool:
        return await client.state() == "absent"

    return Kept("engine", command or own, lambda: engine_trouble(client), vacant, last=True)


def front_ends(settings: BotSettings) -> list[Kept]:
    """Return the front ends that the settings configure."""
    program = (sys.executable, "-P", "-m", "bot.main", "bot")
    return [
        Kept(name, (*program, name))
        for name, setting in FRONT_ENDS.items()
        if getattr(settings, setting, None) is not None
    ]


async def engine_trouble(client: EngineClient) -> str:
    """Watch a just started engine; return why it has to be started again."""
    began = time.monotonic()
    heard = began + SILENT_START_SECONDS  # an interpreter may take its time until it listens
    was_ready = False
    while True:
        state = await client.state()
        if state in ("silent", "absent"):
            if time.monotonic() - heard > (SILENT_SECONDS if was_ready else SILENT_START_SECONDS):
                return "it does not answer"
        else:
            heard = time.monotonic()
            was_ready = was_ready or state == "ready"
        if state == "unhealthy":
            return "its decoding has stopped"
        if not was_ready and time.monotonic() - began > START_SECONDS:
            return "it does not get ready"
        await asyncio.sleep(0 if state == "silent" else PROBE_SECONDS)


@dataclass
class Supervisor:
    """Keeps processes alive until told to stop, and leaves none behind."""

    kept: Sequence[Kept]
    environment: dict[str, str] = field(default_factory=dict)
    processes: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _status: int = 0

    async def run(self) -> int:
        """Return 0 after a signal, or the status of a process whose settings are wrong."""
        loop = asyncio.get_running_loop()
        for sig in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sig, self._on_signal)
        told = asyncio.create_task(self._stop.wait())
        keepers = [asyncio.create_task(self._keep(one)) for one in self.kept]
        try:
            await asyncio.wait({told, *keepers}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (told, *keepers):
                task.cancel()
            ends = await asyncio.gather(told, *keepers, return_exceptions=True)
            await self._end_all()
            for sig in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(sig)
        faults = [end for end in ends if isinstance(end, Exception)]
        if faults:
            raise faults[0]
        return self._status

    def stop(self, status: int = 0) -> None:
        """End all processes in order, then let `run()` return `status`."""
        self._status = status
        self._stop.set()

    def _on_signal(self) -> None:
        if self._stop.is_set():
            for process in self.processes.values():
                _signal_group(process, signal.SIGKILL)
        self.stop()

    async def _keep(self, one: Kept) -> None:
        failures = 0
        while True:
            await self._until_vacant(one)
            began = time.monotonic()
            process = await self._start(one)
            reason = await self._trouble(one, process)
            _signal_group(process, signal.SIGKILL)
            await process.wait()
            if process.returncode == EXIT_SETTINGS:
                _log.error("%s can't run with these settings", one.name)
                self.stop(EXIT_SETTINGS)
                return
            failures = 0 if time.monotonic() - began > STABLE_SECONDS else failures + 1
            wait = wait_seconds(failures)
            _log.warning("%s: %s; started again in %.1f s", one.name, reason, wait)
            await asyncio.sleep(wait)

    async def _until_vacant(self, one: Kept) -> None:
        said = False
        while one.vacant is not None and not await one.vacant():
            if not said:
                _log.info("another %s runs already and is used", one.name)
            said = True
            await asyncio.sleep(PROBE_SECONDS)

    async def _start(self, one: Kept) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *one.command,
            stdin=subprocess.PIPE,  # its closing tells the process that we are gone
            env=os.environ | self.environment,
            start_new_session=True,
        )
        self.processes[one.name] = process
        _log.info("%s started, process %d", one.name, process.pid)
        return process

    async def _trouble(self, one: Kept, process: asyncio.subprocess.Process) -> str:
        """Wait until the process ends or its `trouble` says that it has to; return the reason."""
        ended = asyncio.create_task(process.wait())
        watches: set[asyncio.Task[Any]] = {ended}
        if one.trouble is not None:
            watches.add(asyncio.create_task(one.trouble()))
        try:
            done, _ = await asyncio.wait(watches, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for watch in watches:
                watch.cancel()
        return f"ended with status {process.returncode}" if ended in done else str(done.pop().result())

    async def _end_all(self) -> None:
        """End front ends, then the engine, within 9.5 s; whoever is left then is killed."""
        first = [self.processes[one.name] for one in self.kept if not one.last and one.name in self.processes]
        last = [self.processes[one.name] for one in self.kept if one.last and one.name in self.processes]
        began = time.monotonic()
        for processes, seconds in ((first, ENGINE_LAST_SECONDS), (last, STOP_SECONDS)):
            for process in processes:
                _signal_process(process, signal.SIGTERM)
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, began + seconds - time.monotonic())):
                    await asyncio.gather(*(process.wait() for process in processes))
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, began + STOP_SECONDS - time.monotonic())):
                await asyncio.gather(*(process.wait() for process in first))
        for process in (*first, *last):
            _signal_group(process, signal.SIGKILL)
            await process.wait()


def wait_seconds(failures: int) -> float:
    """Return how long to wait before starting again after so many early ends in a row."""
    if failures == 0:
        return 0.0
    return min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0 ** min(failures - 1, 10))


def _signal_process(process: asyncio.subprocess.Process, sig: signal.Signals) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.send_signal(sig)


def _signal_group(process: asyncio.subprocess.Process, sig: signal.Signals) -> None:
    """Signal the process and whatever it started; each has a session of its own."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, sig)
