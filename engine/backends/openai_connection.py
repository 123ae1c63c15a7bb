"""The connection to a completion server: an event loop in a thread, and whether the server can be used.

Knows HTTP and who the server is; knows nothing of what is asked of it.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import httpx
import structlog

from engine.backends.openai_identity import Identity, Trouble, identify, look
from engine.errors import EngineUnavailable

CONNECT_SECONDS = 5.0
# Longest silence in an answer: a prompt may wait in the server's own line.
SILENCE_SECONDS = 30.0
LOOK_SECONDS = 2.0
CLOSE_SECONDS = 5.0
# Many calls that find the server away ask once.
FRESH_SECONDS = 0.5

T = TypeVar("T")

_log = structlog.get_logger("engine")


class Connection:
    """One completion server at `url`, with or without `/v1` at its end.

    `token` is its API key, `model` its name of the model, `parallel` the calls at a time; None leaves these
    to the server's kind. The thread runs until `close`.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        model: str | None = None,
        dialect: str = "auto",
        parallel: int | None = None,
    ) -> None:
        self.url = re.sub(r"/v1$", "", url.rstrip("/"))
        self.refusal: str | None = None
        """What the server said against our calls, until one goes through."""
        self._asleep: str | None = f"The completion server at {self.url} has not answered yet."
        self._model, self._dialect, self._parallel = model, dialect, parallel
        self.parallel = parallel or 1
        """Calls at a time, once the server is known."""
        self._identity: Identity | None = None
        self._looked_at = 0.0
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        timeout = httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS, pool=None)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=32)
        self._places = asyncio.Semaphore(self.parallel)
        self._looking = asyncio.Lock()
        self._http = httpx.AsyncClient(
            base_url=self.url, headers=headers, timeout=timeout, limits=limits, trust_env=False
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="completion server", daemon=True)
        self._thread.start()

    @property
    def trouble(self) -> str | None:
        """Why the server can't be used now, in a sentence; None while it can."""
        return self._asleep or self.refusal

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine in the connection's loop; cancelling the future closes its calls."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        """Cancel what runs and end the thread."""
        with suppress(RuntimeError):  # the loop has ended already
            self._loop.call_soon_threadsafe(self._cancel_all)
        self._thread.join(timeout=CLOSE_SECONDS)

    async def identity(self) -> Identity:
        """Return who the server is, asking it when that isn't known. Raises EngineUnavailable."""
        if self._identity is None:
            async with self._looking:
                stale = time.monotonic() - self._looked_at > FRESH_SECONDS
                if self._identity is None and stale:
                    await self._look()
        if self._identity is None:
            raise EngineUnavailable(self._asleep or "", retry_after=LOOK_SECONDS)
        return self._identity

    @asynccontextmanager
    async def call(self, body: dict[str, Any]) -> AsyncIterator[httpx.Response]:
        """Send one completion request, when its turn has come, and give the answer as it comes in.

        Raises httpx.HTTPError.
        """
        async with self._places, self._http.stream("POST", "/v1/completions", json=body) as response:
            yield response

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        with suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._live())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _live(self) -> None:
        try:
            while True:
                async with self._looking:
                    await self._look()
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            await asyncio.shield(self._http.aclose())

    def _cancel_all(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            task.cancel()

    async def _look(self) -> None:
        """Ask whether the server is there; who it is after it was away."""
        try:
            if self._identity is None:
                found = await identify(self._http, dialect=self._dialect, model=self._model)
                self.parallel = self._parallel or found.dialect.parallel
                self._places = asyncio.Semaphore(self.parallel)
                self._identity, self.refusal = found, None
                kind = found.dialect.name
                _log.info("completion server found", url=self.url, kind=kind, model=found.model)
            else:
                await look(self._http)
            self._asleep = None
        except Trouble as trouble:
            if self._asleep != str(trouble):
                _log.warning("the completion server can't be used", why=str(trouble))
            self._identity, self._asleep = None, str(trouble)
        finally:
            self._looked_at = time.monotonic()
