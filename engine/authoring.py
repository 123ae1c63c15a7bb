"""From a prepared request to one finished story: rounds of drafts, the choice, what is shown when.

Knows lanes, drafts and the content filter; nothing of HTTP or of which models there are.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

from engine.content import ContentFilter
from engine.errors import EngineError, InternalError, UnsuitableStory
from engine.jobs import Drawn, Failed, Finished, Job, JobEvent, Narrowed, Queued, Started
from engine.lane import Lane
from engine.lexicon import level_report
from engine.lexicon import match as spans_of
from engine.schema import Candidate, DoneEvent, QueuedEvent, StoryEvent, StoryResult, TextEvent, Timing
from engine.scoring import Draft, best_of
from engine.streaming import Streamer
from engine.telling import KEEPS_WORDS, Telling

MAX_ROUNDS = 3
# Rounds spent on missing words alone.
MAX_WORD_ROUNDS = 2


Sink = Callable[[JobEvent], None]


class _Mailbox:
    """Events on their way from the decoding thread to a reader in an event loop.

    However slow the reader, a handful: of places in line, and of tokens, only the newest is kept.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()
        self._lock = threading.Lock()
        self._events: list[JobEvent] = []

    def put(self, event: JobEvent) -> None:
        """Leave an event (any thread). Raises RuntimeError when the loop is closed."""
        with self._lock:
            if self._events and isinstance(event, Queued | Drawn) and type(self._events[-1]) is type(event):
                del self._events[-1]
            self._events.append(event)
        self._loop.call_soon_threadsafe(self._arrived.set)

    async def take(self) -> list[JobEvent]:
        """Wait for events and take them."""
        await self._arrived.wait()
        self._arrived.clear()
        with self._lock:
            taken, self._events = self._events, []
        return taken


async def job_events(
    lane: Lane, job_for: Callable[[Sink], Job], *, follow_up: bool
) -> AsyncGenerator[JobEvent, None]:
    """Yield the events of a job up to Finished; leaving early cancels it. Raises EngineError on failure.

    A reader who is slow misses places in line and tokens that were not the last.
    """
    mailbox = _Mailbox()
    job = job_for(mailbox.put)
    lane.submit(job, follow_up=follow_up)
    try:
        while True:
            for event in await mailbox.take():
                if isinstance(event, Failed):
                    raise event.error
                yield event
                if isinstance(event, Finished):
                    return
    finally:
        lane.cancel(job)


async def finished(lane: Lane, job_for: Callable[[Sink], Job]) -> Finished:
    """Have a job done and return its end. Raises EngineError."""
    async with aclosing(job_events(lane, job_for, follow_up=False)) as events:
        async for event in events:
            if isinstance(event, Finished):
                return event
    raise InternalError("The decoder gave no answer.")


@dataclass
class Author:
    """Writes the story of one `telling`. Times are on the monotonic clock."""

    telling: Telling
    lane: Lane
    content: ContentFilter
    began: float
    deadline: float
    drafts: list[Draft] = field(default_factory=list)
    rows: int = 0
    tokens: int = 0
    started_at: float = 0.0
    first_text_at: float = 0.0

    async def write(self) -> AsyncGenerator[StoryEvent, None]:
        """Yield queued and text events and at last the finished story. Raises EngineError."""
        streamer: Streamer | None = None
        for number in range(MAX_ROUNDS):
            streamer = Streamer(self.telling, self._suitable, streamer.shown if streamer else "")
            try:
                async with aclosing(self._round(number, streamer)) as events:
                    async for event in events:
                        yield event
            except EngineError:
                if not self.drafts:
                    raise
            if self._settled(number, streamer):
                break
            self.telling.prefix += streamer.tokens[: streamer.accepted]
        if not self.drafts:
            raise UnsuitableStory("I couldn't write a suitable story about that. Please try other words.")
        best = best_of(self.drafts)
        rest = streamer.rest(best.text) if streamer else best.text
        if rest:
            yield self._text(rest)
        result = await asyncio.to_thread(self._result, best)
        yield DoneEvent(result=result)

    def _settled(self, number: int, streamer: Streamer) -> bool:
        if not self.drafts:
            return False
        if self.rows == 1 or self.telling.request.kind not in KEEPS_WORDS:
            return True
        if not best_of(self.drafts).missed or number + 1 >= MAX_WORD_ROUNDS:
            return True
        # A round as long as the last one must still fit.
        now = time.monotonic()
        return self.deadline - now < now - self.began

    async def _round(self, number: int, streamer: Streamer) -> AsyncGenerator[StoryEvent, None]:
        def job_for(sink: Sink) -> Job:
            return self.telling.job(number, self.deadline, streamer.through(sink))

        source = job_events(self.lane, job_for, follow_up=number > 0)
        async with aclosing(source) as events:
            async for event in events:
                match event:
                    case Queued(position) if number == 0:
                        yield QueuedEvent(position=position)
                    case Started(rows) | Narrowed(rows):
                        self.rows = self.telling.rows = rows
                        self.started_at = self.started_at or time.monotonic()
                    case Drawn() if streamer.due:
                        delta = await asyncio.to_thread(streamer.next_text)
                        if delta:
                            yield self._text(delta)
                        if streamer.refused:
                            return
                    case Finished(rows):
                        self.tokens += sum(len(row.tokens) for row in rows)
                        found = await asyncio.to_thread(self.telling.drafts, rows)
                        self.drafts += await asyncio.to_thread(self._suitable_ones, found)

    def _text(self, delta: str) -> TextEvent:
        self.first_text_at = self.first_text_at or time.monotonic()
        return TextEvent(delta=delta)

    def _suitable(self, text: str) -> bool:
        strict = self.telling.request.audience == "group"
        return self.content.check_text(text, strict) is None

    def _suitable_ones(self, drafts: list[Draft]) -> list[Draft]:
        return [draft for draft in drafts if draft.text and self._suitable(f"{draft.title}\n{draft.text}")]

    def _result(self, best: Draft) -> StoryResult:
        request, card = self.telling.request, self.telling.model.card
        now = time.monotonic()
        others = [draft for draft in self.drafts if draft is not best]
        return StoryResult(
            title=best.title,
            text=best.text,
            kind=request.kind,
            genre=request.genre,
            level=request.level,
            words=request.words,
            words_used=best.used,
            words_missed=best.missed,
            spans=spans_of(request.words, best.text),
            level_report=level_report(best.text, request.level),
            model=card.name,
            model_version=card.version,
            seed=self.telling.seed,
            n=self.rows,
            decoding=self.telling.decoding,
            timing=Timing(
                queued_ms=_ms(self.started_at - self.began),
                first_text_ms=_ms((self.first_text_at or now) - self.began),
                total_ms=_ms(now - self.began),
                tokens=self.tokens,
            ),
            candidates=_candidates(others) if request.return_candidates else None,
            request_id=request.request_id,
        )


def _candidates(drafts: list[Draft]) -> list[Candidate]:
    ranked = sorted(drafts, key=lambda draft: -draft.score)
    return [
        Candidate(text=draft.text, score=round(draft.score, 3), words_used=draft.used) for draft in ranked
    ]


def _ms(seconds: float) -> float:
    return round(max(0.0, seconds) * 1000, 1)
