"""An engine on this machine for one program: the one that runs, else one started for the time being.

Knows addresses and processes; knows nothing of models or stories.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO
from urllib.parse import urlsplit

from platformdirs import user_log_path

from engine.address import EngineAddress
from engine.errors import EngineUnavailable
from engine.remote import EngineClient, EngineState

START_SECONDS = 120.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.1
HUNG_PROBES = 2
"""An engine of ours that was ready and then is silent or unhealthy this often is replaced."""
LOG_BYTES = 5_000_000
SERVE = ("-P", "-m", "engine", "serve", "--stop-with-parent")
"""-P: a folder named `engine` where the user happens to be must not be taken for ours."""


class LocalEngine:
    """`async with LocalEngine() as engine: engine.client…`

    An engine that already answers at the address is used and never stopped. Otherwise one is started
    there and stopped on leaving, also when this process is killed. When two programs start at a time,
    the one that loses the port uses the winner's engine; `ensure()` starts one again if that went away.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        timeout: float | None = None,
        start_seconds: float = START_SECONDS,
        command: Sequence[str] | None = None,
        log_path: Path | None = None,
    ) -> None:
        """Address, token and `timeout` (seconds a story may take) come from EngineSettings unless given."""
        address = EngineAddress.configured()
        if url is not None:
            host = urlsplit(url).hostname or "127.0.0.1"
            address = replace(address, url=url, token=token, host=host)
        elif token is not None:
            address = replace(address, token=token)
        self.address = address
        self.client = EngineClient(address.url, token=address.token, timeout=timeout or address.timeout)
        self.log_path = log_path or user_log_path("wordtale") / "engine.log"
        self._seconds = start_seconds
        self._command = list(command or [sys.executable, *SERVE])
        self._process: asyncio.subprocess.Process | None = None
        self._served = False
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> LocalEngine:
        try:
            await self.ensure()
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave()

    async def ensure(self) -> None:
        """Return once an engine is ready to answer, starting or restarting one where there is none.

        Raises EngineUnavailable when none is ready in time, with a sentence that says why.
        """
        async with self._lock:
            try:
                async with asyncio.timeout(self._seconds):
                    await self._until_ready()
            except TimeoutError as error:
                raise EngineUnavailable(
                    f"The engine was not ready after {self._seconds:.0f} seconds; see {self.log_path}."
                ) from error

    async def _until_ready(self) -> None:
        starts = hung = 0
        while (state := await self.client.state()) != "ready":
            if state == "foreign":
                raise EngineUnavailable(f"Another program answers at {self.address.url}; set another port.")
            hung += self._served and state in ("silent", "unhealthy")
            if hung == HUNG_PROBES:
                hung = 0
                await self._stop()
            elif self._must_start(state):
                if starts == 2:
                    raise EngineUnavailable(f"The engine does not start; see {self.log_path}.")
                await self._start()
                starts += 1
            await asyncio.sleep(POLL_SECONDS)
        self._served = self._process is not None

    def _must_start(self, state: EngineState) -> bool:
        if state != "absent":
            return False
        if self._process is not None and self._process.returncode is None:
            return False
        if not self.address.is_here:
            raise EngineUnavailable(f"No engine answers at {self.address.url}.")
        return True

    async def _start(self) -> None:
        with _open_log(self.log_path) as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=subprocess.PIPE,  # its closing tells the engine that we are gone
                stdout=log,
                stderr=log,
                env=os.environ | self.address.environment,
                start_new_session=True,
            )

    async def _leave(self) -> None:
        await self.client.aclose()
        await self._stop()

    async def _stop(self) -> None:
        self._served = False
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        try:
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            pass
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def _open_log(path: Path) -> IO[bytes]:
    """Open the log for appending; one that has grown large is set aside first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.replace(path.with_suffix(".old.log"))
    return path.open("ab")
