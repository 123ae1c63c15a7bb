"""The front ends' hold on the engine: it is started in the background and brought back when it went away.

Knows the client; knows nothing of people, chats or how an engine is started.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Protocol

from engine.client import EngineClient, EngineError, EngineUnavailable
from engine.schema import ModelInfo, StoryEvent, StoryRequest

REVIVE_SECONDS = 60.0
"""An engine under `wordtale run` is back by then."""
POLL_SECONDS = 0.2


async def answering(client: EngineClient, seconds: float = REVIVE_SECONDS) -> None:
    """Return once an engine that somebody else keeps alive answers. Raises EngineUnavailable."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                if await client.ready():
                    return
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError as error:
        raise EngineUnavailable(f"The engine was not back after {seconds:.0f} seconds.") from error


class Storyteller(Protocol):
    """What the commands need of an engine."""

    def stream(self, request: StoryRequest) -> AsyncGenerator[StoryEvent, None]:
        """Yield the events of a story. Raises EngineUnavailable when the engine is or goes away."""
        ...

    async def models(self) -> list[ModelInfo]:
        """Return the models there are. Raises EngineError."""
        ...

    async def revive(self) -> None:
        """Return when an engine answers again. Raises EngineUnavailable when none does in time."""
        ...


class EngineLink:
    """A Storyteller over a client, with `ensure` to start the engine or to wait for it."""

    def __init__(self, client: EngineClient, ensure: Callable[[], Awaitable[None]]) -> None:
        self._client = client
        self._ensure = ensure
        self._starting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to start the engine; whoever needs it first waits for the rest."""
        self._starting = asyncio.ensure_future(self._started())

    @property
    def starting(self) -> bool:
        """Whether the engine is still on its way."""
        return self._starting is not None and not self._starting.done()

    async def stream(self, request: StoryRequest) -> AsyncGenerator[StoryEvent, None]:
        """See Storyteller."""
        await self._wait()
        async with aclosing(self._client.stream(request)) as events:
            async for event in events:
                yield event

    async def models(self) -> list[ModelInfo]:
        """See Storyteller."""
        await self._wait()
        return await self._client.models()

    async def revive(self) -> None:
        """See Storyteller."""
        await self._ensure()

    async def aclose(self) -> None:
        """Stop waiting for the engine. The client belongs to whoever made it."""
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)

    async def _wait(self) -> None:
        """Wait for the start under way; a start that failed is tried again by the next who needs it."""
        if self._starting is None:
            return
        starting = self._starting
        try:
            await asyncio.shield(starting)
        except EngineError:
            if self._starting is starting:
                self._starting = None
            raise

    async def _started(self) -> None:
        await self._ensure()
