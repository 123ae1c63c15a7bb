"""A story service that follows a script: the methods of the real one, no model, no torch.

`max_new_tokens` of a request is how many pieces its story has; each takes `delay` seconds on one row.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

from engine.completing import Completed, CompletionRun, Piece
from engine.completions import Choice, CompletionRequest
from engine.errors import EngineError, InvalidRequest, ModelUnknown, ShuttingDown
from engine.schema import (
    Activation,
    DoneEvent,
    ErrorCode,
    ErrorEvent,
    Level,
    LevelReport,
    LexiconEntry,
    LexiconRequest,
    LexiconResponse,
    ModelInfo,
    PlainRequest,
    PlainResult,
    QueuedEvent,
    StoryEvent,
    StoryRequest,
    StoryResult,
    TextEvent,
    Timing,
)

MODEL = "scripted"
PIECES = 4
UNSUITABLE = "nastyword"


class ScriptedService:
    """Titles that mean something: die, hang (decoding), block (the event loop), crash (an exception)."""

    def __init__(
        self, *, rows: int = 4, waiting: int = 8, delay: float = 0.01, load_seconds: float = 0.0
    ) -> None:
        self.rows, self.max_waiting, self.delay, self.load_seconds = rows, waiting, delay, load_seconds
        self.ready, self.healthy, self.stopping, self.broken = False, True, False, False
        self.trouble: str | None = None
        self.running = self.waiting = self.started = self.finished = self.activated = 0
        self._slots = asyncio.Semaphore(rows)

    async def start(self) -> None:
        if self.load_seconds < 0:
            raise ModelUnknown("There is no model in the folder.")
        await asyncio.sleep(self.load_seconds)
        self.ready = True

    async def stories(self, request: StoryRequest) -> AsyncGenerator[StoryEvent, None]:
        began = time.monotonic()
        refusal = self._refusal(request)
        if refusal is not None:
            yield refusal
            return
        if self.running >= self.rows:
            yield QueuedEvent(position=self.waiting)
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        self.started += 1
        try:
            self._act(request.title)
            pieces = []
            for number in range(request.decoding.max_new_tokens or PIECES):
                await asyncio.sleep(self.delay)
                if self.broken:
                    yield ErrorEvent(code=ErrorCode.SHUTTING_DOWN, message="The engine stops.", retry_after=5)
                    return
                pieces.append(f"{number} {' '.join(request.words)}。\u2028\n")
                yield TextEvent(delta=pieces[-1])
        finally:
            self.running -= 1
            self._slots.release()
        self.finished += 1
        yield DoneEvent(result=_result(request, "".join(pieces), len(pieces), began, self.started))

    async def generate(self, request: PlainRequest) -> PlainResult:
        if self.stopping:
            raise ShuttingDown("The engine stops.", 5)
        if request.model not in (None, MODEL):
            raise ModelUnknown("There is no such model.")
        self.running += 1
        try:
            await asyncio.sleep(self.delay * request.length)
        finally:
            self.running -= 1
        return PlainResult(
            text=f"{request.prompt} and so on", model=MODEL, model_version="1", seed=1, tokens=request.length
        )

    def models(self) -> list[ModelInfo]:
        return [
            ModelInfo(
                name=MODEL, family=MODEL, version="1", parameters=0, active=True, loaded=True, context=512
            )
        ]

    @asynccontextmanager
    async def complete(self, request: CompletionRequest) -> AsyncIterator[CompletionRun]:
        if self.stopping:
            raise ShuttingDown("The engine stops.", 5)
        if request.model not in (None, MODEL):
            raise ModelUnknown("There is no such model.")
        self.running += 1
        try:
            async with aclosing(self._completion(request)) as events:
                yield CompletionRun(MODEL, "1", events)
        finally:
            self.running -= 1

    async def _completion(self, request: CompletionRequest) -> AsyncGenerator[Piece | Completed, None]:
        for number in range(request.budget):
            await asyncio.sleep(self.delay)
            for index in range(request.choices if request.stream else 0):
                yield Piece(index, f"{number} ")
        text = "".join(f"{number} " for number in range(request.budget))
        choices = [Choice(text=text, index=i, finish_reason="length") for i in range(request.choices)]
        yield Completed(choices, 1, request.budget * request.choices)

    async def activate(self, name: str, version: str | None = None) -> Activation:
        if self.stopping:
            raise ShuttingDown("The engine stops.", 5)
        if name != MODEL:
            raise ModelUnknown("There is no such model.")
        if version not in (None, "1"):
            raise InvalidRequest("That is version 1.")
        self.activated += 1
        return Activation(
            model=MODEL, model_version="1", previous=MODEL, previous_version="1", seconds=0, kept=True
        )

    async def rollback(self) -> Activation:
        if not self.activated:
            raise InvalidRequest("There is no earlier default model to go back to.")
        return await self.activate(MODEL)

    def lexicon(self, request: LexiconRequest) -> LexiconResponse:
        return LexiconResponse(
            entries=[
                LexiconEntry(word=word, lemma=word, level=None, is_name=False, forms=[word])
                for word in request.words
            ]
        )

    def gauges(self) -> dict[str, float]:
        return {"queue_depth": self.waiting, "running_rows": self.running}

    async def aclose(self, drain_seconds: float) -> None:
        self.stopping = True
        deadline = time.monotonic() + drain_seconds
        while self.running and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        self.broken = True
        while self.running and time.monotonic() < deadline + 0.5:
            await asyncio.sleep(0.02)

    def _refusal(self, request: StoryRequest) -> ErrorEvent | None:
        if self.stopping:
            return EngineError(ErrorCode.SHUTTING_DOWN, "The engine stops.", 5).event()
        if not self.ready:
            return EngineError(ErrorCode.NOT_READY, "The model is loading.", 2).event()
        if request.model not in (None, MODEL):
            return EngineError(ErrorCode.MODEL_UNKNOWN, "There is no such model.").event()
        if UNSUITABLE in request.words:
            return EngineError(ErrorCode.UNSUITABLE_WORDS, "One of the words is not for stories.").event()
        if self.waiting >= self.max_waiting:
            return EngineError(ErrorCode.OVERLOADED, "Too many people are asking.", 2.5).event()
        return None

    def _act(self, title: str | None) -> None:
        if title == "die":
            os._exit(9)
        if title == "hang":
            self.healthy = False
        if title == "block":
            time.sleep(3600)
        if title == "crash":
            raise RuntimeError("a story by Mallory\r\nforged line")


def _result(request: StoryRequest, text: str, tokens: int, began: float, number: int) -> StoryResult:
    passed = (time.monotonic() - began) * 1000
    return StoryResult(
        title=request.title or f"Story {number}",
        text=text,
        kind=request.kind,
        genre=request.genre,
        level=request.level,
        words=request.words,
        words_used=request.words,
        words_missed=[],
        spans=[],
        level_report=LevelReport(asked=request.level, measured=Level.A1, share_above=0.0),
        model=MODEL,
        model_version="1",
        seed=request.seed or number,
        n=request.n_candidates or 1,
        decoding=request.decoding,
        timing=Timing(queued_ms=0, first_text_ms=passed, total_ms=passed, tokens=tokens),
        request_id=request.request_id,
    )
