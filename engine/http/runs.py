"""Stories under way: one run per request, followed by the connections that wait for it.

A run stops when its last follower leaves: at once, or after some seconds when its request has a
request_id, under which it can be followed again from any event on. A repeated request_id joins the run that
has it, or gets the story that it gave in the last minutes. Knows the service's event stream; nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass

import structlog

from engine.errors import InvalidRequest
from engine.schema import DoneEvent, ErrorCode, ErrorEvent, QueuedEvent, StoryEvent, StoryRequest

KEEP_SECONDS = 300.0
KEEP_RUNS = 256
RESUME_SECONDS = 10.0
"""A dropped connection can't be told from leaving. A client that comes back does so within seconds (ours
tries for one, browsers wait three); who is gone for good holds rows for no longer than a story takes."""

_log = structlog.get_logger("engine.http")


class Run:
    """One story being made: its events so far, and who follows them."""

    def __init__(self, source: AsyncGenerator[StoryEvent, None], ended: Callable[[Run], None]) -> None:
        self.events: list[tuple[int, StoryEvent]] = []
        """Numbered from 0 on; a place in the queue gives way to the next one, so that lines stay cheap."""
        self.mark = secrets.token_hex(4)
        """Tells this run's events from those of another run of the same request."""
        self.finished = False
        self.followers = 0
        self.began = time.monotonic()
        self._ended = ended
        self._grown = asyncio.Event()
        self._task = asyncio.create_task(self._pump(source))

    @property
    def last(self) -> DoneEvent | ErrorEvent | None:
        """The event that ended the run, or None while it goes on or when everybody left."""
        event = self.events[-1][1] if self.events else None
        return event if isinstance(event, DoneEvent | ErrorEvent) else None

    async def after(self, number: int, seconds: float | None = None) -> Sequence[tuple[int, StoryEvent]]:
        """Wait up to `seconds` until there are events numbered above `number`; return those."""
        if not self._has_more(number) and not self.finished:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._grown.wait()
        first = bisect_right(self.events, number, key=lambda numbered: numbered[0])
        return self.events[first:]

    def drained(self, number: int) -> bool:
        """Say whether the run is over and `number` was its last event."""
        return self.finished and not self._has_more(number)

    def _has_more(self, number: int) -> bool:
        return bool(self.events) and self.events[-1][0] > number

    async def outcome(self) -> DoneEvent | ErrorEvent:
        """Wait for the end and return it."""
        await asyncio.wait({self._task})
        return self.last or ErrorEvent(code=ErrorCode.INTERNAL, message="The story was broken off.")

    def cancel(self) -> None:
        """Stop the work; its slots are free before the next decoding step."""
        self._task.cancel()

    def stop(self) -> None:
        """Stop the work and tell those who follow it."""
        if not self.finished:
            self._grow(ErrorEvent(code=ErrorCode.CANCELLED, message="The story was stopped."))
            self.cancel()

    async def _pump(self, source: AsyncGenerator[StoryEvent, None]) -> None:
        try:
            async with aclosing(source):
                async for event in source:
                    self._grow(event)
        except Exception as error:
            _log.error("story failed", error=type(error).__name__, exc_info=error)
            self._grow(ErrorEvent(code=ErrorCode.INTERNAL, message="Something went wrong in the engine."))
        finally:
            self.finished = True
            self._grown.set()
            self._ended(self)

    def _grow(self, event: StoryEvent) -> None:
        number = self.events[-1][0] + 1 if self.events else 0
        if isinstance(event, QueuedEvent) and self.events and isinstance(self.events[-1][1], QueuedEvent):
            del self.events[-1]
        self.events.append((number, event))
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()


@dataclass
class _Named:
    """A run that can be found again, by a request with the same `body` only."""

    body: str
    run: Run
    ending: asyncio.TimerHandle | None = None


class Runs:
    """All runs; those with a request_id can be found again by the same request."""

    def __init__(
        self,
        start: Callable[[StoryRequest], AsyncGenerator[StoryEvent, None]],
        ended: Callable[[StoryRequest, Run], None],
    ) -> None:
        self._start = start
        self._report = ended
        self._named: OrderedDict[str, _Named] = OrderedDict()

    @contextmanager
    def follow(self, request: StoryRequest) -> Iterator[Run]:
        """Give the run of this request; on leaving it ends, at once or soon, when nobody else follows it.

        Raises InvalidRequest when another request has the same request_id.
        """
        self._expire()
        run = self._known(request) or self._begin(request)
        run.followers += 1
        try:
            yield run
        finally:
            run.followers -= 1
            if not run.followers and not run.finished:
                self._leave(request.request_id, run)

    def stop(self, name: str) -> bool:
        """End the run with this request_id now and forget its story; false when there is none."""
        named = self._named.pop(name, None)
        if named is not None:
            named.run.stop()
        return named is not None

    def _known(self, request: StoryRequest) -> Run | None:
        named = self._named.get(request.request_id or "")
        if named is None:
            return None
        if named.body != _body(request):
            raise InvalidRequest("request_id: another request has had this one; a new story needs a new one")
        if named.ending is not None:
            named.ending.cancel()
        return named.run

    def _begin(self, request: StoryRequest) -> Run:
        name = request.request_id
        run = Run(self._start(request), lambda ended: self._on_end(name, request, ended))
        if name:
            self._named[name] = _Named(_body(request), run)
        return run

    def _leave(self, name: str | None, run: Run) -> None:
        named = self._named.get(name or "")
        if name is None or named is None or named.run is not run:
            run.cancel()
        else:
            named.ending = asyncio.get_running_loop().call_later(RESUME_SECONDS, self._give_up, name, run)

    def _give_up(self, name: str, run: Run) -> None:
        if not run.followers:
            self._forget(name, run)
            run.cancel()

    def _on_end(self, name: str | None, request: StoryRequest, run: Run) -> None:
        if not isinstance(run.last, DoneEvent):
            self._forget(name, run)
        self._report(request, run)

    def _forget(self, name: str | None, run: Run) -> None:
        if name and (named := self._named.get(name)) is not None and named.run is run:
            del self._named[name]

    def _expire(self) -> None:
        oldest = time.monotonic() - KEEP_SECONDS
        for name, named in list(self._named.items()):
            run = named.run
            if run.finished and (run.began < oldest or len(self._named) > KEEP_RUNS):
                del self._named[name]


def _body(request: StoryRequest) -> str:
    return request.model_dump_json(exclude={"request_id"})
