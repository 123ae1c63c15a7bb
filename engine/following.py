"""One story over as many connections as it takes: where one breaks, the next goes on after the last event.

Knows the story's route and its events; knows nothing of the client's other calls.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing

import httpx
from httpx_sse import ServerSentEvent, aconnect_sse
from pydantic import TypeAdapter

from engine.answers import accepted, losses_named, refusal, understood
from engine.errors import DeadlineExceeded, EngineUnavailable
from engine.schema import DoneEvent, ErrorEvent, StoryEvent, StoryRequest, StoryResult, TextEvent

ROUTE = "/v1/stories"
CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 15.0
"""A stream sends at least a comment every few seconds; silent for longer means hung."""
WAITS = (0.05, 0.2, 0.6)
"""Seconds before each new try in a row. An engine still away then is its front end's to bring back."""
BROKEN = (httpx.NetworkError, httpx.RemoteProtocolError)
"""A connection that was there and is gone; one that is silent would be so again."""

_EVENTS: TypeAdapter[StoryEvent] = TypeAdapter(StoryEvent)


class Following:
    """One story asked of an engine. `over` says that its end was heard."""

    def __init__(self, http: httpx.AsyncClient, request: StoryRequest, seconds: float) -> None:
        self._http = http
        self._nameless = request.request_id is None
        self.name = request.request_id or f"c-{secrets.token_hex(8)}"
        """A story can be asked for again only by a name."""
        named = request.model_copy(update={"request_id": self.name})
        self._body = named.model_dump(mode="json", exclude_none=True)
        self._seconds = seconds
        self._last_id = ""
        self._shown = self._reached = self.over = False
        self._failures = 0

    async def events(self) -> AsyncGenerator[StoryEvent, None]:
        """Yield the story's events, each once; the last is `done` or `error`. Raises EngineUnavailable."""
        deadline = asyncio.get_running_loop().time() + self._seconds
        while not self.over:
            lost = EngineUnavailable("The engine went away in the middle of the story.")
            try:
                with losses_named():
                    async with aclosing(self._connection(deadline)) as events:
                        async for event in events:
                            yield event
            except EngineUnavailable as error:
                if not isinstance(error.__cause__, BROKEN):
                    raise
                lost = error
            if not self.over:
                await self._wait(
                    lost or EngineUnavailable("The engine went away in the middle of the story.")
                )

    async def whole(self) -> StoryResult:
        """Return the finished story without its events. Raises EngineError."""
        while True:
            try:
                with losses_named():
                    response = await self._http.post(ROUTE, json=self._body)
            except EngineUnavailable as error:
                if isinstance(error.__cause__, httpx.ReadTimeout):
                    raise DeadlineExceeded("The engine took too long to answer.") from error
                if not isinstance(error.__cause__, BROKEN):
                    raise
                await self._wait(error)
                continue
            self.over = True
            with understood():
                return self._as_asked(StoryResult.model_validate_json(accepted(response).content))

    async def _connection(self, deadline: float) -> AsyncGenerator[StoryEvent, None]:
        async with aconnect_sse(
            self._http,
            "POST",
            ROUTE,
            json=self._body,
            timeout=httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS),
            headers={"Last-Event-ID": self._last_id} if self._last_id else {},
        ) as source:
            self._reached = True
            if source.response.status_code != httpx.codes.OK:
                await source.response.aread()
                self.over = True
                yield refusal(source.response).event()
                return
            async with aclosing(source.aiter_sse()) as messages:
                async for event in self._messages(messages, deadline):
                    yield event

    async def _messages(
        self, messages: AsyncGenerator[ServerSentEvent, None], deadline: float
    ) -> AsyncGenerator[StoryEvent, None]:
        while not self.over:
            try:
                async with asyncio.timeout_at(deadline):
                    message = await anext(messages, None)
            except TimeoutError as error:
                raise DeadlineExceeded("The story took too long.") from error
            if message is None:
                return
            if not message.data:
                continue
            with understood():
                event = _EVENTS.validate_json(message.data)
            self._remember(message.id)
            yield self._noted(event)

    def _remember(self, id_: str) -> None:
        if self._shown and _mark(id_) != _mark(self._last_id):
            raise EngineUnavailable("The engine lost the story half way and began another.")
        self._last_id, self._failures = id_, 0

    def _noted(self, event: StoryEvent) -> StoryEvent:
        self._shown = self._shown or isinstance(event, TextEvent)
        self.over = isinstance(event, DoneEvent | ErrorEvent)
        return DoneEvent(result=self._as_asked(event.result)) if isinstance(event, DoneEvent) else event

    def _as_asked(self, result: StoryResult) -> StoryResult:
        return result.model_copy(update={"request_id": None}) if self._nameless else result

    async def _wait(self, lost: Exception) -> None:
        """Wait before the next try. Raises `lost` when there is nothing left to try."""
        self._reached = self._reached or not isinstance(lost.__cause__, httpx.ConnectError)
        resumable = (bool(self._last_id) or not self._shown) and not self._http.is_closed
        if not (self._reached and resumable and self._failures < len(WAITS)):
            raise lost
        self._failures += 1
        await asyncio.sleep(WAITS[self._failures - 1])


def _mark(id_: str) -> str:
    """Return the part of an event's id that names the run."""
    return id_.rpartition("-")[0]
