"""A story as an HTTP answer: server-sent events, which can be resumed, or one JSON object at the end.

Knows runs and connections; knows nothing of models.
"""

from __future__ import annotations

import re

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from engine.errors import EngineError
from engine.http.errors import error_response
from engine.http.leaving import ClientLeft, unless_left
from engine.http.runs import Run, Runs
from engine.schema import DoneEvent, ErrorEvent, StoryEvent, StoryRequest

FIRST_SECONDS = 0.5
"""How long a stream waits for its first event, so that a refusal can still have a status of its own."""
PING_SECONDS = 5.0
"""A silent stream sends a comment this often; clients take 15 s of silence for a hung engine."""
EVENT_STREAM = "text/event-stream"
_NUMBER = re.compile(r"[0-9]{1,9}")


class StoryResponse(Response):
    """Follows the story's run as long as the client stays.

    `last_id` is the id of the last event that a client had before its connection broke, as it says itself.
    """

    def __init__(
        self, runs: Runs, request: StoryRequest, *, stream: bool, last_id: str | None = None
    ) -> None:
        super().__init__()
        self._runs = runs
        self._request = request
        self._stream = stream
        self._last_id = last_id or ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with self._runs.follow(self._request) as run:
                answer = self._events(run, scope, receive, send) if self._stream else None
                await unless_left(receive, answer or self._whole(run, scope, receive, send))
        except ClientLeft:
            return
        except EngineError as error:
            await error_response(error)(scope, receive, send)

    async def _whole(self, run: Run, scope: Scope, receive: Receive, send: Send) -> None:
        event = await run.outcome()
        response = (
            JSONResponse(event.result.model_dump(mode="json"))
            if isinstance(event, DoneEvent)
            else error_response(event)
        )
        await response(scope, receive, send)

    async def _events(self, run: Run, scope: Scope, receive: Receive, send: Send) -> None:
        sent = _number_after(self._last_id, run)
        first = await run.after(sent, FIRST_SECONDS)
        if first and isinstance(first[0][1], ErrorEvent):
            await error_response(first[0][1])(scope, receive, send)
            return
        headers = [
            (b"content-type", f"{EVENT_STREAM}; charset=utf-8".encode()),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        while not run.drained(sent):
            events = await run.after(sent, PING_SECONDS)
            if not events and run.finished:
                break
            body = "".join(_sse(run, number, event) for number, event in events) or ": ping\n\n"
            sent = events[-1][0] if events else sent
            await send({"type": "http.response.body", "body": body.encode(), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _number_after(last_id: str, run: Run) -> int:
    """Return the number of the event that the client had last, -1 when it was none of this run."""
    mark, _, number = last_id.strip().partition("-")
    return int(number) if mark == run.mark and _NUMBER.fullmatch(number) else -1


def _sse(run: Run, number: int, event: StoryEvent) -> str:
    """Return one server-sent message; JSON has no raw line breaks, so one data line is enough."""
    return f"id: {run.mark}-{number}\nevent: {event.event}\ndata: {event.model_dump_json()}\n\n"
