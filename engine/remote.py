"""The HTTP client of an engine: stories as events or whole, look-ups, models, health.

A story goes on where its connection broke; asking again when the engine itself is gone is the caller's.
Knows the wire and the addresses; knows nothing of models, chats or processes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from typing import Literal, TypeVar, get_args
from urllib.parse import quote

import httpx
from pydantic import BaseModel, TypeAdapter

from engine.answers import accepted, losses_named, understood
from engine.errors import DeadlineExceeded, EngineError
from engine.following import CONNECT_SECONDS, ROUTE, Following
from engine.schema import (
    ActivateRequest,
    Activation,
    LexiconEntry,
    LexiconRequest,
    LexiconResponse,
    ModelInfo,
    PlainRequest,
    PlainResult,
    StoryEvent,
    StoryRequest,
    StoryResult,
)

SERVICE_NAME = "wordtale-engine"
GRACE_SECONDS = 5.0
"""Beyond the story's own deadline, so that the engine can say itself that it was too slow."""
PROBE_SECONDS = 1.5
IDLE_SECONDS = 10.0
"""Kept below the server's 30 s, so that no request is sent down a connection just being closed."""
LEXICON_BATCH = 200
SWAP_SECONDS = 300.0
"""A large model may take minutes to load from a slow disk."""
FAREWELLS = 4
FAREWELL_SECONDS = 2.0
OVERTAKEN_SECONDS = 0.25

EngineState = Literal["ready", "loading", "stopping", "unhealthy", "silent", "absent", "foreign"]
"""absent: nobody listens; silent: no answer in time; foreign: another program answers there."""

_MODELS: TypeAdapter[list[ModelInfo]] = TypeAdapter(list[ModelInfo])
_Answer = TypeVar("_Answer", bound=BaseModel)


class EngineClient:
    """One engine at `base_url`. Safe to share between tasks; close it with `aclose()`."""

    def __init__(
        self,
        base_url: str,
        *,
        token: str | None = None,
        timeout: float = 60.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`timeout`: seconds that one story may take, waiting included."""
        self.base_url = base_url.rstrip("/")
        self._seconds = timeout + GRACE_SECONDS
        self._open: set[str] = set()
        self._farewells: set[asyncio.Task[None]] = set()
        self._saying = asyncio.Semaphore(FAREWELLS)  # connections kept alive are cheaper than new ones
        self._http = httpx.AsyncClient(
            base_url=self.base_url,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=httpx.Timeout(self._seconds, connect=CONNECT_SECONDS),
            limits=httpx.Limits(
                max_connections=None, max_keepalive_connections=20, keepalive_expiry=IDLE_SECONDS
            ),
            transport=transport,
            trust_env=False,
        )

    async def stream(self, request: StoryRequest) -> AsyncGenerator[StoryEvent, None]:
        """Yield the story's events; the last is `done` or `error`. A broken connection leaves no gap.

        Leaving early (aclose, cancellation) lets the engine stop the work at once. Raises EngineUnavailable
        when the connection is refused, silent, or lost and not to be had again.
        """
        following = Following(self._http, request, self._seconds)
        try:
            with self._followed(following):
                async with aclosing(following.events()) as events:
                    async for event in events:
                        yield event
        except DeadlineExceeded as error:
            yield error.event()

    async def story(self, request: StoryRequest) -> StoryResult:
        """Return the finished story. Raises EngineError, of which EngineUnavailable says: nobody there."""
        following = Following(self._http, request, self._seconds)
        with self._followed(following):
            return await following.whole()

    async def stop(self, request_id: str) -> bool:
        """End the story with this request_id at once; false when there is none. Raises EngineError."""
        with losses_named():
            response = await self._http.delete(f"{ROUTE}/{quote(request_id, safe='')}", timeout=PROBE_SECONDS)
        if response.status_code == httpx.codes.NOT_FOUND:
            return False
        accepted(response)
        return True

    async def generate(self, request: PlainRequest) -> PlainResult:
        """Return a plain continuation. Raises EngineError."""
        return await self._ask("/v1/generate", request, PlainResult)

    async def models(self) -> list[ModelInfo]:
        """Return the models that the engine knows. Raises EngineError."""
        with losses_named():
            response = await self._http.get("/v1/models")
        with understood():
            return _MODELS.validate_json(accepted(response).content)

    async def activate(self, name: str, version: str | None = None) -> Activation:
        """Put a model to use; returns once it answers. Raises EngineError: the old one then goes on."""
        route = f"/v1/models/{quote(name, safe='')}/activate"
        return await self._ask(route, ActivateRequest(version=version), Activation, SWAP_SECONDS)

    async def rollback(self) -> Activation:
        """Put the model back that was active before. Raises EngineError."""
        return await self._ask("/v1/models/rollback", None, Activation, SWAP_SECONDS)

    async def lexicon(self, words: Sequence[str]) -> list[LexiconEntry]:
        """Return one entry per word, in the order given. Raises EngineError."""
        entries: list[LexiconEntry] = []
        for first in range(0, len(words), LEXICON_BATCH):
            request = LexiconRequest(words=list(words[first : first + LEXICON_BATCH]))
            entries += (await self._ask("/v1/lexicon", request, LexiconResponse)).entries
        return entries

    async def ready(self) -> bool:
        """Say whether a story asked for now would be answered. Never raises."""
        return await self.state() == "ready"

    async def state(self) -> EngineState:
        """Return what is at the address, asking for up to 1.5 seconds. Never raises."""
        try:
            response = await self._http.get("/readyz", timeout=PROBE_SECONDS)
            body = response.json()
        except (httpx.ConnectError, httpx.ConnectTimeout):
            return "absent"
        except httpx.RemoteProtocolError as error:
            return "absent" if "disconnected" in str(error) else "foreign"
        except httpx.TransportError:
            return "silent"
        except ValueError:
            return "foreign"
        if not isinstance(body, dict) or body.get("service") != SERVICE_NAME:
            return "foreign"
        known: tuple[EngineState, ...] = get_args(EngineState)
        return next((state for state in known if state == body.get("state")), "unhealthy")

    async def aclose(self) -> None:
        """Stop the stories under way for this client and close all connections."""
        for name in self._open:
            self._say_goodbye(name)
        if self._farewells:
            await asyncio.wait(self._farewells, timeout=FAREWELL_SECONDS)
        await self._http.aclose()

    async def __aenter__(self) -> EngineClient:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    @contextmanager
    def _followed(self, following: Following) -> Iterator[None]:
        """See that a story nobody waits for any more is stopped: it would outlive a broken connection."""
        self._open.add(following.name)
        try:
            yield
        except (GeneratorExit, asyncio.CancelledError, DeadlineExceeded):
            if not following.over:
                self._say_goodbye(following.name)
            raise
        finally:
            self._open.discard(following.name)

    def _say_goodbye(self, name: str) -> None:
        farewell = asyncio.create_task(self._goodbye(name))
        self._farewells.add(farewell)
        farewell.add_done_callback(self._farewells.discard)

    async def _goodbye(self, name: str) -> None:
        with suppress(EngineError, TimeoutError, RuntimeError):
            async with self._saying, asyncio.timeout(FAREWELL_SECONDS):
                if not await self.stop(name):
                    # It may have overtaken the request on another connection.
                    await asyncio.sleep(OVERTAKEN_SECONDS)
                    await self.stop(name)

    async def _ask(
        self, path: str, request: BaseModel | None, answer: type[_Answer], seconds: float | None = None
    ) -> _Answer:
        body = request.model_dump(mode="json", exclude_none=True) if request is not None else None
        with losses_named():
            try:
                response = await self._http.post(path, json=body, timeout=seconds or self._seconds)
            except httpx.ReadTimeout as error:
                raise DeadlineExceeded("The engine took too long to answer.") from error
        with understood():
            return answer.model_validate_json(accepted(response).content)
