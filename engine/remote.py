"""The HTTP client of an engine: stories as events or whole, look-ups, health.

Knows the wire and the addresses; knows nothing of models, chats or processes. Retrying is the caller's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Any, Literal, TypeVar, get_args

import httpx
from httpx_sse import ServerSentEvent, aconnect_sse
from pydantic import BaseModel, TypeAdapter, ValidationError

from engine.errors import DeadlineExceeded, EngineError, EngineUnavailable, InternalError
from engine.schema import (
    DoneEvent,
    ErrorCode,
    ErrorEvent,
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
CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 15.0
"""A stream sends at least a comment every few seconds; silent for longer means hung."""
GRACE_SECONDS = 5.0
"""Beyond the story's own deadline, so that the engine can say itself that it was too slow."""
PROBE_SECONDS = 1.5
IDLE_SECONDS = 10.0
"""Kept below the server's 30 s, so that no request is sent down a connection just being closed."""
LEXICON_BATCH = 200

EngineState = Literal["ready", "loading", "stopping", "unhealthy", "silent", "absent", "foreign"]
"""absent: nobody listens; silent: no answer in time; foreign: another program answers there."""

_EVENTS: TypeAdapter[StoryEvent] = TypeAdapter(StoryEvent)
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
        """Yield the story's events; the last is `done` or `error`.

        Leaving early (aclose, cancellation) closes the connection, and the engine stops the work.
        Raises EngineUnavailable when the connection is refused, lost or silent.
        """
        deadline = asyncio.get_running_loop().time() + self._seconds
        timeout = httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
        body = request.model_dump(mode="json", exclude_none=True)
        with _losses_named():
            async with aconnect_sse(self._http, "POST", "/v1/stories", json=body, timeout=timeout) as source:
                if source.response.status_code != httpx.codes.OK:
                    await source.response.aread()
                    yield _refusal(source.response).event()
                    return
                async with aclosing(source.aiter_sse()) as messages:
                    async for event in _events(messages, deadline):
                        yield event

    async def story(self, request: StoryRequest) -> StoryResult:
        """Return the finished story. Raises EngineError, of which EngineUnavailable says: nobody there."""
        return await self._ask("/v1/stories", request, StoryResult)

    async def generate(self, request: PlainRequest) -> PlainResult:
        """Return a plain continuation. Raises EngineError."""
        return await self._ask("/v1/generate", request, PlainResult)

    async def models(self) -> list[ModelInfo]:
        """Return the models that the engine knows. Raises EngineError."""
        with _losses_named():
            response = await self._http.get("/v1/models")
        with _answer_understood():
            return _MODELS.validate_json(_accepted(response).content)

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
        """Close all connections; work under way for this client is cancelled by the engine."""
        await self._http.aclose()

    async def __aenter__(self) -> EngineClient:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def _ask(self, path: str, request: BaseModel, answer: type[_Answer]) -> _Answer:
        body = request.model_dump(mode="json", exclude_none=True)
        with _losses_named():
            try:
                response = await self._http.post(path, json=body)
            except httpx.ReadTimeout as error:
                raise DeadlineExceeded("The engine took too long to answer.") from error
        with _answer_understood():
            return answer.model_validate_json(_accepted(response).content)


async def _events(
    messages: AsyncGenerator[ServerSentEvent, None], deadline: float
) -> AsyncGenerator[StoryEvent, None]:
    while True:
        try:
            async with asyncio.timeout_at(deadline):
                message = await anext(messages, None)
        except TimeoutError:
            yield ErrorEvent(code=ErrorCode.DEADLINE, message="The story took too long.")
            return
        if message is None:
            raise EngineUnavailable("The engine went away in the middle of the story.")
        if not message.data:
            continue
        with _answer_understood():
            event = _EVENTS.validate_json(message.data)
        yield event
        if isinstance(event, DoneEvent | ErrorEvent):
            return


@contextmanager
def _losses_named() -> Iterator[None]:
    """Turn the many ways of losing a connection into EngineUnavailable."""
    try:
        yield
    except (httpx.TransportError, httpx.StreamError) as error:
        refused = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
        text = "The engine is not running." if refused else "The connection to the engine was lost."
        raise EngineUnavailable(text) from error


@contextmanager
def _answer_understood() -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        raise InternalError("The engine's answer was not understood: is it of another version?") from error


def _accepted(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    raise _refusal(response)


def _refusal(response: httpx.Response) -> EngineError:
    """Return the error that a response which is no success stands for."""
    try:
        body: Any = response.json()
        code, message = ErrorCode(body["code"]), str(body["message"])
        retry_after = body.get("retry_after")
    except (ValueError, KeyError, TypeError):
        return EngineUnavailable(f"Something else than an engine answered (status {response.status_code}).")
    if retry_after is None:
        header = response.headers.get("retry-after", "")
        retry_after = float(header) if header.isdecimal() else None
    return EngineError.of(code, message, retry_after)
