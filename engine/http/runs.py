"""Stories under way: one run per request, followed by the connections that wait for it.

A run stops when its last follower leaves. A repeated request_id joins the run that has it, or gets the
story that it gave in the last minutes. Knows the service's event stream; knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress

import structlog

from engine.schema import DoneEvent, ErrorCode, ErrorEvent, QueuedEvent, StoryEvent, StoryRequest, TextEvent

KEEP_SECONDS = 300.0
KEEP_RUNS = 256

_log = structlog.get_logger("engine.http")


class Run:
    """One story being made: its events so far, and who follows them."""

    def __init__(self, source: AsyncGenerator[StoryEvent, None], ended: Callable[[Run], None]) -> None:
        self.events: list[tuple[int, StoryEvent]] = []
        """Numbered from 0 on; a place in the queue gives way to the next one, so that lines stay cheap."""
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

    def compact(self) -> None:
        """Keep of a finished story what a repeated request needs: the text in one piece and the end."""
        if isinstance(self.last, DoneEvent):
            self.events = [(0, TextEvent(delta=self.last.result.text)), (1, self.last)]

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


class Runs:
    """All runs; those with a request_id can be found again by the same request."""

    def __init__(
        self,
        start: Callable[[StoryRequest], AsyncGenerator[StoryEvent, None]],
        ended: Callable[[StoryRequest, Run], None],
    ) -> None:
        self._start = start
        self._report = ended
        self._named: OrderedDict[str, Run] = OrderedDict()

    @contextmanager
    def follow(self, request: StoryRequest) -> Iterator[Run]:
        """Give the run of this request, and stop it on leaving when nobody else follows it."""
        name = request.model_dump_json() if request.request_id else None
        self._expire()
        run = self._named.get(name) if name else None
        if run is None:
            run = Run(self._start(request), lambda ended: self._on_end(name, request, ended))
            if name:
                self._named[name] = run
        run.followers += 1
        try:
            yield run
        finally:
            run.followers -= 1
            if not run.followers:
                self._leave(name, run)

    def _leave(self, name: str | None, run: Run) -> None:
        if run.finished:
            run.compact()
        else:
            self._forget(name, run)
            run.cancel()

    def _on_end(self, name: str | None, request: StoryRequest, run: Run) -> None:
        if not isinstance(run.last, DoneEvent):
            self._forget(name, run)
        self._report(request, run)

    def _forget(self, name: str | None, run: Run) -> None:
        if name and self._named.get(name) is run:
            del self._named[name]

    def _expire(self) -> None:
        oldest = time.monotonic() - KEEP_SECONDS
        for name, run in list(self._named.items()):
            if run.finished and (run.began < oldest or len(self._named) > KEEP_RUNS):
                del self._named[name]
