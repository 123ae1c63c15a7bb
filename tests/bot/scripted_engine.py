"""An engine that follows a script, behind the real client: in-process over a transport, or served on a port.

It tells "Title: …" stories that use each word as a plural, so that receipts and highlights have something to
show. `plan` says what happens to the next requests: an ErrorEvent, KILLED (the connection breaks in
mid-story), REFUSED (nobody listens), SLOW (never ends), DROP:word (the word is missing) – nothing: a story.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from bot.storyteller import EngineLink
from engine.client import EngineClient, EngineUnavailable
from engine.errors import EngineError
from engine.schema import (
    DoneEvent,
    ErrorCode,
    ErrorEvent,
    HardWord,
    Level,
    LevelReport,
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
    WordSpan,
)

KILLED = "killed"
REFUSED = "refused"
SLOW = "slow"
MODEL = "scripted"

Act = str | ErrorEvent


def story_of(request: StoryRequest, number: int, *, drop: str = "") -> StoryResult:
    """Return a story in which every word but `drop` stands as its plural."""
    text, spans = f"Story {number}:", []
    for word in request.words:
        if word == drop:
            continue
        form = word if word[0].isupper() or not word.isascii() else word + "s"
        text += " the "
        spans.append(WordSpan(word=word, form=form, start=len(text), end=len(text) + len(form)))
        text += form
    text += " went home."
    used = [word for word in request.words if word != drop]
    report = LevelReport(
        asked=request.level,
        measured=request.level or Level.A2,
        share_above=0.1,
        hard_words=[HardWord(word=w, lemma=w, level="C1") for w in ("vessel", "gleam", "dusk", "brine")],
    )
    return StoryResult(
        title=request.title or f"Title {number}",
        text=text,
        kind=request.kind,
        genre=request.genre,
        level=request.level,
        words=request.words,
        words_used=used,
        words_missed=[word for word in request.words if word == drop],
        spans=spans,
        level_report=report,
        model=request.model or MODEL,
        model_version="1.0",
        seed=request.seed if request.seed is not None else 1000 + number,
        n=request.n_candidates or 4,
        decoding=request.decoding,
        timing=Timing(queued_ms=0, first_text_ms=1, total_ms=2, tokens=10),
        request_id=request.request_id,
    )


MODELS = [
    ModelInfo(
        name=name, family="storyteller", version="1.0", parameters=6_000_000,
        active=name == MODEL, loaded=True, context=512,
    )
    for name in (MODEL, "genre-gpt2")
]  # fmt: skip


@dataclass
class ScriptedEngine:
    """`requests` keeps what was asked, `revived` how often the engine was brought back."""

    plan: deque[Act] = field(default_factory=deque)
    requests: list[StoryRequest] = field(default_factory=list)
    queue: tuple[int, ...] = ()
    revived: int = 0
    can_revive: bool = True
    left: int = 0

    def link(self) -> EngineLink:
        """Return what the bot core is given: the real client over this engine."""
        client = EngineClient("http://engine", transport=httpx.MockTransport(self._handle))
        return EngineLink(client, self._ensure)

    async def _ensure(self) -> None:
        self.revived += 1
        if not self.can_revive:
            raise EngineUnavailable("The engine does not start; see engine.log.")

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/models":
            if self.plan and self.plan[0] == REFUSED:
                raise httpx.ConnectError("refused")
            return httpx.Response(200, json=[model.model_dump(mode="json") for model in MODELS])
        if request.method == "DELETE":
            return httpx.Response(204)
        asked = StoryRequest.model_validate_json(request.content)
        self.requests.append(asked)
        act = self.plan.popleft() if self.plan else ""
        if act == REFUSED:
            raise httpx.ConnectError("refused")
        stream = _Stream(self, asked, act, len(self.requests))
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=stream)

    async def events(self, asked: StoryRequest, act: Act, number: int) -> AsyncGenerator[StoryEvent, None]:
        """Yield what the plan says of one request."""
        if isinstance(act, ErrorEvent):
            yield act
            return
        for position in self.queue:
            yield QueuedEvent(position=position)
        result = story_of(asked, number, drop=act.partition(":")[2] if act.startswith("drop:") else "")
        yield TextEvent(delta=result.text[:8])
        if act == KILLED:
            raise httpx.ReadError("connection reset")
        if act == SLOW:
            await asyncio.Event().wait()
        yield TextEvent(delta=result.text[8:])
        yield DoneEvent(result=result)


class _Stream(httpx.AsyncByteStream):
    def __init__(self, engine: ScriptedEngine, asked: StoryRequest, act: Act, number: int) -> None:
        self._engine = engine
        self._events = engine.events(asked, act, number)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for event in self._events:
            yield f"event: {event.event}\ndata: {event.model_dump_json()}\n\n".encode()

    async def aclose(self) -> None:
        self._engine.left += 1
        await self._events.aclose()


class ScriptedService:
    """The same stories for the real server (engine.server.create_app), when the `wordtale` command is run."""

    def __init__(self) -> None:
        self.ready = self.healthy = True
        self._told = 0

    async def start(self) -> None:
        """Nothing to load."""

    async def stories(self, request: StoryRequest) -> AsyncGenerator[StoryEvent, None]:
        """Tell; words that name an error code give that error, "slowly" takes a moment."""
        self._told += 1
        if "slowly" in request.words:
            await asyncio.sleep(0.3)
        if "nasty" in request.words:
            yield EngineError(ErrorCode.UNSUITABLE_WORDS, "not these").event()
            return
        result = story_of(request, request.seed or 0)
        yield TextEvent(delta=result.text)
        yield DoneEvent(result=result)

    async def generate(self, request: PlainRequest) -> PlainResult:
        """Go on."""
        text = f"{request.prompt}went on for {request.length}"
        return PlainResult(text=text, model=MODEL, model_version="1", seed=request.seed or 5, tokens=3)

    def models(self) -> list[ModelInfo]:
        """Return two."""
        return MODELS

    def lexicon(self, request: LexiconRequest) -> LexiconResponse:
        """Know nothing."""
        return LexiconResponse(entries=[])

    def gauges(self) -> dict[str, float]:
        """Return nothing of note."""
        return {}

    async def aclose(self, drain_seconds: float) -> None:
        """Nothing to stop."""


def served() -> Any:
    """Return the application: `uvicorn --factory tests.bot.scripted_engine:served`."""
    from engine.server import create_app

    return create_app(ScriptedService())  # type: ignore[arg-type]


def object_lines(output: str) -> list[dict[str, Any]]:
    """Return the JSON objects of an output, one a line."""
    return [json.loads(line) for line in output.splitlines()]
