"""The engine's HTTP application around a story service.

Knows routes, statuses and figures; knows nothing of models, decoding or processes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any

import structlog
from fastapi import Depends, FastAPI, Header, Request, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from engine.errors import EngineError, EngineUnavailable, InvalidRequest
from engine.http import errors
from engine.http.completions import add_completions
from engine.http.guard import Guard
from engine.http.leaving import ClientLeft, unless_left
from engine.http.models import add_models
from engine.http.runs import Run, Runs
from engine.http.stories import EVENT_STREAM, StoryResponse
from engine.metrics import Metrics
from engine.remote import SERVICE_NAME, EngineState
from engine.schema import (
    DoneEvent,
    ErrorEvent,
    LexiconRequest,
    LexiconResponse,
    PlainRequest,
    PlainResult,
    StoryRequest,
    StoryResult,
)

if TYPE_CHECKING:
    from engine.service import StoryService

REFUSALS = (400, 401, 403, 404, 413, 422, 429, 503, 504)
REQUEST_ID = r'^"?[A-Za-z0-9_.:-]{1,64}"?$'
"""As in a body; the quotes are those of the header's draft standard (RFC 8941 strings)."""
WHY_NOT = {
    "loading": "the default model is still loading",
    "unhealthy": "decoding has stopped",
    "stopping": "the engine is about to stop",
}
EVENT_SCHEMA = {
    "type": "object",
    "description": "One server-sent event; `data` is a StoryEvent as JSON",
    "properties": {
        "id": {"type": "string"},
        "event": {"enum": ["queued", "text", "done", "error"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["id", "event", "data"],
}
STORY_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "model": StoryResult,
        "description": "The story, or its events when `Accept: text/event-stream` asks for them",
        "content": {EVENT_STREAM: {"schema": EVENT_SCHEMA}},
    }
}

_log = structlog.get_logger("engine")


def create_app(service: StoryService, *, token: str | None = None) -> FastAPI:
    """Return the application. Starting and closing `service` is the caller's.

    `token`: bearer token asked of every request except health checks. `app.state.stopping` makes
    /readyz say that the engine is about to stop.
    """
    app = FastAPI(title="Wordtale engine", version=version("wordtale"), docs_url=None, redoc_url=None)
    app.state.stopping = False
    metrics = Metrics(lambda: _gauges(service))
    errors.install(app)
    app.add_middleware(Guard, token=token)
    locked = [Depends(HTTPBearer(auto_error=False))] if token else []
    _add_health(app, service)
    _add_stories(app, service, metrics, locked)
    _add_plain(app, service, metrics, locked)
    _add_lookups(app, service, metrics, locked)
    add_models(app, service, locked)
    add_completions(app, service, metrics, locked)
    return app


def _add_stories(app: FastAPI, service: StoryService, metrics: Metrics, locked: list[Any]) -> None:
    runs = Runs(service.stories, lambda request, run: _record(metrics, request, run))

    @app.post(
        "/v1/stories",
        response_model=None,
        responses={**STORY_ANSWERS, **errors.documented(*REFUSALS, 410)},
        dependencies=locked,
    )
    async def stories(
        request: Request,
        story: StoryRequest,
        idempotency_key: Annotated[str | None, Header(pattern=REQUEST_ID)] = None,
        last_event_id: Annotated[str | None, Header(description="resume an event stream after it")] = None,
    ) -> Response:
        """Write a story. A repeated `request_id` gives the same one, and its events from `Last-Event-ID` on.

        Leaving stops the work: at once without a `request_id`, after some seconds with one.
        """
        wants_events = EVENT_STREAM in request.headers.get("accept", "")
        named = _named(story, idempotency_key)
        return StoryResponse(runs, named, stream=wants_events, last_id=last_event_id)

    @app.delete(
        "/v1/stories/{request_id}",
        status_code=204,
        responses=errors.documented(401, 403, 404, 422),
        dependencies=locked,
    )
    async def stop(request_id: str) -> None:
        """Stop a story at once and forget it."""
        if not runs.stop(request_id):
            raise HTTPException(404, "There is no story with that request_id.")


def _named(story: StoryRequest, key: str | None) -> StoryRequest:
    """Return the request with the Idempotency-Key as its request_id. Raises InvalidRequest if both differ."""
    name = key.strip('"') if key else None
    if name is None or name == story.request_id:
        return story
    if story.request_id is not None:
        raise InvalidRequest("Idempotency-Key and request_id differ: give one of them, or the same")
    return story.model_copy(update={"request_id": name})


def _add_plain(app: FastAPI, service: StoryService, metrics: Metrics, locked: list[Any]) -> None:
    @app.post("/v1/generate", responses=errors.documented(*REFUSALS), dependencies=locked)
    async def generate(request: Request, plain: PlainRequest) -> PlainResult:
        """Continue a prompt plainly: no word keeping, no prompt format."""
        began, outcome = time.monotonic(), "left"
        try:
            result = await unless_left(request.receive, service.generate(plain))
            metrics.count_tokens(result.tokens)
            outcome = "done"
            return result
        except EngineError as error:
            outcome = error.code.value
            raise
        except ClientLeft as left:
            raise EngineUnavailable("The client left.") from left
        finally:
            metrics.count("plain", outcome, time.monotonic() - began)


def _add_lookups(app: FastAPI, service: StoryService, metrics: Metrics, locked: list[Any]) -> None:
    @app.post("/v1/lexicon", responses=errors.documented(401, 413, 422, 503), dependencies=locked)
    async def lexicon(words: LexiconRequest) -> LexiconResponse:
        """Give lemma, level and every inflection of words or phrases."""
        return await asyncio.to_thread(service.lexicon, words)

    @app.get("/metrics", responses=errors.documented(401), dependencies=locked, response_class=Response)
    async def figures() -> Response:
        """Give the engine's figures in Prometheus' text format."""
        return Response(metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_health(app: FastAPI, service: StoryService) -> None:
    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Say that the process lives."""
        return {"service": SERVICE_NAME, "state": "live"}

    @app.get("/readyz", responses={503: {"model": dict[str, str]}}, response_model=dict[str, str])
    async def readyz() -> JSONResponse:
        """Say whether a story asked for now would be answered, and if not, why."""
        state = _state(service, app.state.stopping)
        body = {"service": SERVICE_NAME, "state": state}
        if state == "ready":
            return JSONResponse(body)
        reason = (state == "loading" and service.trouble) or WHY_NOT[state]
        return JSONResponse(body | {"reason": reason}, status_code=503, headers={"Retry-After": "1"})


def _state(service: StoryService, stopping: bool) -> EngineState:
    if stopping:
        return "stopping"
    if not service.ready:
        return "loading"
    return "ready" if service.healthy else "unhealthy"


def _gauges(service: StoryService) -> Mapping[str, float]:
    return {**service.gauges(), "ready": float(service.ready), "healthy": float(service.healthy)}


def _record(metrics: Metrics, request: StoryRequest, run: Run) -> None:
    """Count and log an ended run: codes and durations only."""
    seconds, last = time.monotonic() - run.began, run.last
    kind, outcome, facts = request.kind.value, "left", {}
    if isinstance(last, DoneEvent):
        metrics.count_story(last.result)
        outcome, facts = "done", {"model": last.result.model, "tokens": last.result.timing.tokens}
    elif isinstance(last, ErrorEvent):
        outcome = last.code.value
    metrics.count(kind, outcome, seconds)
    _log.info("story", kind=kind, outcome=outcome, ms=round(seconds * 1000), id=request.request_id, **facts)
