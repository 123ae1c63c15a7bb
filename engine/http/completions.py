"""`POST /v1/completions`, for clients of OpenAI's API: one JSON object, or chunks that end with [DONE].

Knows OpenAI's shapes; knows nothing of models.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from engine.completing import Completed, CompletionRun, Piece
from engine.completions import Choice, Completion, CompletionRequest, Usage
from engine.errors import EngineError, InternalError
from engine.http import errors
from engine.http.leaving import ClientLeft, unless_left
from engine.http.stories import EVENT_STREAM

if TYPE_CHECKING:
    from engine.metrics import Metrics
    from engine.service import StoryService

REFUSALS = (400, 401, 403, 404, 413, 429, 503, 504)
CHUNK_SCHEMA = {
    "type": "object",
    "description": "One chunk; `data` is a completion as JSON, in the last one [DONE]",
    "properties": {"data": {"type": "string"}},
    "required": ["data"],
}

_log = structlog.get_logger("engine")


def add_completions(app: FastAPI, service: StoryService, metrics: Metrics, locked: list[Any]) -> None:
    """Add the route; `locked` are the dependencies that say that a token is asked for."""

    def ended(outcome: str, tokens: int, seconds: float) -> None:
        metrics.count("completion", outcome, seconds)
        metrics.count_tokens(tokens)

    @app.post(
        "/v1/completions",
        response_model=None,
        responses={
            200: {"model": Completion, "content": {EVENT_STREAM: {"schema": CHUNK_SCHEMA}}},
            **errors.documented(*REFUSALS, model=errors.OpenAIError),
        },
        dependencies=locked,
    )
    async def completions(asked: CompletionRequest) -> Response:
        """Go on with a prompt as OpenAI's clients ask for it: no word keeping, no prompt format."""
        return _Answer(service, asked, ended)


@dataclass
class _Shape:
    """What all chunks of one answer share."""

    run: CompletionRun
    id: str = field(default_factory=lambda: f"cmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def __call__(self, choices: list[Choice], usage: Usage | None = None) -> Completion:
        return Completion(
            id=self.id,
            created=self.created,
            model=self.run.model,
            model_version=self.run.model_version,
            system_fingerprint=self.run.model_version,
            choices=choices,
            usage=usage,
        )


class _Answer(Response):
    """Follows one completion as long as the client stays."""

    def __init__(
        self, service: StoryService, asked: CompletionRequest, ended: Callable[[str, int, float], None]
    ) -> None:
        super().__init__()
        self._service = service
        self._asked = asked
        self._ended = ended
        self._outcome, self._tokens, self._started = "left", 0, False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.monotonic()
        try:
            await unless_left(receive, self._answer(scope, receive, send))
        except ClientLeft:
            return
        finally:
            self._ended(self._outcome, self._tokens, time.monotonic() - began)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with self._service.complete(self._asked) as run:
                await (
                    self._stream(run, send) if self._asked.stream else self._whole(run, scope, receive, send)
                )
        except Exception as error:
            known = error if isinstance(error, EngineError) else _fault(error)
            self._outcome = known.code.value
            if not self._started:
                await errors.error_response(known, path=scope["path"])(scope, receive, send)
                return
            await self._send(send, errors.openai_body(known))
        if self._started:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _whole(self, run: CompletionRun, scope: Scope, receive: Receive, send: Send) -> None:
        async for event in run.events:
            if isinstance(event, Completed):
                for choice in event.choices:
                    choice.text = self._echo + choice.text
                body = _Shape(run)(event.choices, self._counted(event))
                await JSONResponse(body.model_dump(mode="json"))(scope, receive, send)

    async def _stream(self, run: CompletionRun, send: Send) -> None:
        shape = _Shape(run)
        async for event in run.events:
            if not self._started:
                await self._begin(shape, send)
            if isinstance(event, Piece):
                piece = Choice(text=event.text, index=event.index, finish_reason=None)
                await self._send(send, shape([piece]))
                continue
            for choice in event.choices:
                await self._send(send, shape([choice.model_copy(update={"text": ""})]))
            usage = self._counted(event)
            if self._asked.stream_options and self._asked.stream_options.include_usage:
                await self._send(send, shape([], usage))
            await self._send(send, "[DONE]")

    async def _begin(self, shape: _Shape, send: Send) -> None:
        self._started = True
        headers = [
            (b"content-type", f"{EVENT_STREAM}; charset=utf-8".encode()),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for index in range(self._asked.choices if self._echo else 0):
            await self._send(send, shape([Choice(text=self._echo, index=index, finish_reason=None)]))

    async def _send(self, send: Send, data: BaseModel | str) -> None:
        text = data if isinstance(data, str) else data.model_dump_json()
        await send({"type": "http.response.body", "body": f"data: {text}\n\n".encode(), "more_body": True})

    @property
    def _echo(self) -> str:
        return self._asked.text if self._asked.echo else ""

    def _counted(self, end: Completed) -> Usage:
        self._outcome, self._tokens = "done", end.completion_tokens
        total = end.prompt_tokens + end.completion_tokens
        return Usage(
            prompt_tokens=end.prompt_tokens, completion_tokens=end.completion_tokens, total_tokens=total
        )


def _fault(error: Exception) -> EngineError:
    _log.error("a completion failed", error=type(error).__name__, exc_info=error)
    return InternalError("Something went wrong in the engine.")
