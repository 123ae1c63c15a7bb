"""The engine as a process: its socket, its signals, its orderly end.

Knows uvicorn and the service's start and close; knows nothing of routes or models.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import structlog
import uvicorn

from engine.address import is_loopback
from engine.config import EngineSettings
from engine.errors import EngineError
from engine.server import create_app

if TYPE_CHECKING:
    from engine.service import StoryService

DRAIN_SECONDS = 6.0
"""Running stories may finish for so long; with the time to send the rest, a busy engine ends within 8 s."""
FLUSH_SECONDS = 1
KEEP_ALIVE_SECONDS = 30
BACKLOG = 2048
EXIT_FAILED = 1
EXIT_SETTINGS = 78
"""EX_CONFIG of sysexits.h: starting again would not help."""

_log = structlog.get_logger("engine")


class ServeError(Exception):
    """The engine can't start, in one line; `code` is the exit status."""

    def __init__(self, message: str, code: int = EXIT_FAILED) -> None:
        self.code = code
        super().__init__(message)


def serve(
    settings: EngineSettings, make_service: Callable[[], StoryService], *, stop_with_parent: bool = False
) -> NoReturn:
    """Serve until a signal, then end the process: 0 after an orderly end, 1 when the model can't be loaded.

    The socket is open, and /healthz answers, before `make_service()` is even called. SIGTERM or SIGINT lets
    running stories finish; a second one ends at once. With `stop_with_parent` the closing of standard
    input counts as SIGTERM. Raises ServeError before anything is started.
    """
    listener = listen(settings)
    process = _Process(settings, listener)
    if stop_with_parent:
        threading.Thread(target=_stop_at_end_of_input, daemon=True).start()
    code = asyncio.new_event_loop().run_until_complete(process.run(make_service))
    sys.stdout.flush()
    sys.stderr.flush()
    # A thread still loading a model must not hold up the end.
    os._exit(code)


def listen(settings: EngineSettings) -> socket.socket:
    """Return the open socket. Raises ServeError when the address can't or must not be used."""
    host, port = settings.host, settings.port
    if settings.token is None and not is_loopback(host):
        raise ServeError(
            f"{host} can be reached from other machines: set WORDTALE_ENGINE_TOKEN, or listen on 127.0.0.1.",
            EXIT_SETTINGS,
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        number = error.errno or 0
        reason = os.strerror(number) if number > 0 else "no such address"
        raise ServeError(f"The engine can't listen on {host}:{port}: {reason.lower()}.") from error


class _Server(uvicorn.Server):
    """Hands the first signal to us, so that refusals can still be answered while running work ends."""

    def __init__(self, config: uvicorn.Config, on_signal: Callable[[], None]) -> None:
        super().__init__(config)
        self._loop = asyncio.get_running_loop()
        self._on_signal = on_signal
        self._signalled = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin an orderly end, or end at once when that was already asked for."""
        if self._signalled:
            os._exit(128 + sig)
        self._signalled = True
        self._loop.call_soon_threadsafe(self._on_signal)


class _Process:
    """One engine process from open socket to exit status."""

    def __init__(self, settings: EngineSettings, listener: socket.socket) -> None:
        self._settings = settings
        self._listener = listener
        self._stop = asyncio.Event()
        self._code = 0

    async def run(self, make_service: Callable[[], StoryService]) -> int:
        service = make_service()
        token = self._settings.token
        app = create_app(service, token=token.get_secret_value() if token else None)
        server = _Server(_uvicorn_config(app), self._stop.set)
        serving = asyncio.create_task(server.serve(sockets=[self._listener]))
        starting = asyncio.create_task(self._start(service))
        host, port = self._listener.getsockname()[:2]
        _log.info("listening", url=f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
        stop = asyncio.create_task(self._stop.wait())
        await asyncio.wait({serving, stop}, return_when=asyncio.FIRST_COMPLETED)
        app.state.stopping = True
        starting.cancel()
        _log.info("stopping")
        await service.aclose(DRAIN_SECONDS)
        server.should_exit = True
        await serving
        _log.info("stopped")
        return self._code

    async def _start(self, service: StoryService) -> None:
        try:
            await service.start()
        except EngineError as error:
            _log.error("the model can't be loaded", reason=error.message)
        except Exception as error:
            _log.error("the model can't be loaded", exc_info=error)
        else:
            return
        self._code = EXIT_FAILED
        self._stop.set()


def _uvicorn_config(app: object) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        http="h11",
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=FLUSH_SECONDS,
    )


def _stop_at_end_of_input() -> None:
    while sys.stdin.buffer.read(1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
