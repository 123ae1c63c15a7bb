"""Stories on request: the engine's heart behind its HTTP door.

Checks a request, picks the model, has drafts decoded, chooses and answers. Knows models, lanes and the
content filter; nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

import structlog

from engine.authoring import Author, finished
from engine.backends.openai_completions import connect, connection_of, jobs_at_once
from engine.completing import CompletionRun, prepare_completion
from engine.completions import CompletionRequest
from engine.config import EngineSettings
from engine.content import ContentFilter
from engine.errors import (
    DeadlineExceeded,
    EngineError,
    InternalError,
    NotReady,
    ShuttingDown,
    UnsuitableWords,
)
from engine.lane import Lane
from engine.lexicon import lookup
from engine.loading import LoadedModel, load
from engine.registry import ModelCard, Registry
from engine.remote_lane import RemoteLane
from engine.scheduler import Scheduler
from engine.schema import (
    Activation,
    Level,
    LexiconRequest,
    LexiconResponse,
    ModelInfo,
    PlainRequest,
    PlainResult,
    StoryEvent,
    StoryRequest,
)
from engine.swapping import Swapper
from engine.telling import prepare, prepare_plain
from engine.whole import WholeLane

WHOLE_WAITING = 8
TRIAL_ROWS = 4
TRIAL_TOKENS = 8
TRIAL_SECONDS = 60.0
TRIAL = StoryRequest(words=["dinner"], level=Level.A2, seed=1, n_candidates=TRIAL_ROWS)

_log = structlog.get_logger("engine")


class StoryService:
    """Tells stories with the models of a registry. Belongs to one event loop."""

    def __init__(
        self,
        settings: EngineSettings,
        *,
        registry: Registry | None = None,
        loader: Callable[[ModelCard], LoadedModel] | None = None,
    ) -> None:
        self._settings = settings
        self._models = Swapper(registry or Registry(settings), loader or self._load, try_out)
        connection = connection_of(settings) if settings.backend == "openai" else None
        self._connection = connection
        self._scheduler: Lane = Scheduler(max_rows=settings.max_rows, max_waiting=settings.max_waiting)
        if connection is not None:
            self._scheduler = RemoteLane(
                max_jobs=lambda: jobs_at_once(connection, settings.backend_drafts),
                max_drafts=settings.backend_drafts,
                max_waiting=settings.max_waiting,
            )
        self._whole = WholeLane(max_waiting=min(WHOLE_WAITING, settings.max_waiting))
        self._content: ContentFilter | None = None
        self._closing = False

    @property
    def ready(self) -> bool:
        """Whether the default model is loaded and requests are taken."""
        return self._content is not None and not self._closing and self.trouble is None

    @property
    def trouble(self) -> str | None:
        """What keeps the completion server behind us from writing, in a sentence; None without trouble."""
        return self._connection.trouble if self._connection is not None else None

    @property
    def healthy(self) -> bool:
        """Whether the decoding threads live and beat."""
        return self._scheduler.healthy and self._whole.healthy

    async def start(self) -> None:
        """Load the default model and write one short text, so that the first learner needn't wait.

        Raises ModelUnknown or ModelRefused when there is no model to start with.
        """
        began = time.monotonic()
        self._scheduler.start()
        self._whole.start()
        card = await self._models.start()
        content = await asyncio.to_thread(ContentFilter)
        await asyncio.to_thread(lookup, ["dinner", "Tom"])
        self._content = content
        _log.info("ready", model=card.name, seconds=round(time.monotonic() - began, 2))

    async def stories(self, request: StoryRequest) -> AsyncGenerator[StoryEvent, None]:
        """Yield the events of one story; the last is done or error. Closing the generator stops the work."""
        try:
            async with aclosing(self._tell(request)) as events:
                async for event in events:
                    yield event
        except EngineError as error:
            yield error.event()
        except Exception:
            _log.exception("a story failed", request_id=request.request_id)
            yield InternalError("Something went wrong while the story was written.").event()

    async def generate(self, request: PlainRequest) -> PlainResult:
        """Continue a prompt without word keeping or choice. Raises EngineError."""
        self._check_open()
        deadline = time.monotonic() + self._settings.deadline_seconds
        async with self._lent(request.model, deadline) as model:
            plain = await asyncio.to_thread(prepare_plain, request, model)
            lane = self._lane(model, plain.decoding.num_beams)
            rows = (await finished(lane, lambda sink: plain.job(deadline, sink))).rows
            text = await asyncio.to_thread(model.codec.decode, rows[0].tokens)
        if not request.prompt.strip() or request.prompt[-1].isspace():
            text = text.lstrip()
        return PlainResult(
            text=request.prompt + text,
            model=model.card.name,
            model_version=model.card.version,
            seed=plain.seed,
            tokens=len(rows[0].tokens),
        )

    @asynccontextmanager
    async def complete(self, request: CompletionRequest) -> AsyncIterator[CompletionRun]:
        """Give a plain continuation under way; leaving the block stops it. Raises EngineError."""
        self._check_open()
        deadline = time.monotonic() + self._settings.deadline_seconds
        async with self._lent(request.model, deadline) as model:
            ready = await asyncio.to_thread(prepare_completion, request, model)
            async with aclosing(ready.events(self._lane(model, 1), deadline)) as events:
                yield CompletionRun(model.card.name, model.card.version, events)

    async def activate(self, name: str, version: str | None = None) -> Activation:
        """Put a model to use in place of the active one; see `Swapper.activate`."""
        self._check_open()
        return await self._models.activate(name, version)

    async def rollback(self) -> Activation:
        """Put the model back that was active before; see `Swapper.rollback`."""
        self._check_open()
        return await self._models.rollback()

    def models(self) -> list[ModelInfo]:
        """Return every model known (reads the disk: not for the event loop)."""
        return self._models.infos()

    def lexicon(self, request: LexiconRequest) -> LexiconResponse:
        """Look words up (milliseconds: not for the event loop)."""
        return LexiconResponse(entries=lookup(request.words))

    def gauges(self) -> dict[str, float]:
        """Return what is going on right now."""
        lanes = (self._scheduler, self._whole)
        return {
            "queue_depth": float(sum(lane.waiting for lane in lanes)),
            "running_rows": float(sum(lane.running_rows for lane in lanes)),
            "requests": float(sum(lane.jobs for lane in lanes)),
            "max_rows": float(self._settings.max_rows),
            "models_loaded": float(self._models.held),
        }

    async def aclose(self, drain_seconds: float) -> None:
        """Refuse new requests, let running ones end for so long, then end the rest and the threads."""
        self._closing = True
        lanes = (self._scheduler, self._whole)
        await asyncio.gather(*(asyncio.to_thread(lane.drain, drain_seconds) for lane in lanes))
        if self._connection is not None:
            await asyncio.to_thread(self._connection.close)

    async def _tell(self, request: StoryRequest) -> AsyncGenerator[StoryEvent, None]:
        began = time.monotonic()
        self._check_open()
        assert self._content is not None
        if (request.decoding.num_beams or 1) == 1:
            self._scheduler.check_room(request.person, request.group)
        deadline = began + self._settings.deadline_seconds
        async with self._lent(request.model, deadline) as model:
            telling = await asyncio.to_thread(prepare, request, model)
            await asyncio.to_thread(self._check_content, request)
            author = Author(
                telling=telling,
                lane=self._lane(model, telling.decoding.num_beams),
                content=self._content,
                began=began,
                deadline=deadline,
            )
            async with aclosing(author.write()) as events:
                async for event in events:
                    yield event

    @asynccontextmanager
    async def _lent(self, name: str | None, deadline: float) -> AsyncIterator[LoadedModel]:
        """Give a model for the length of the block. Raises DeadlineExceeded when loading takes too long."""
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    model = await stack.enter_async_context(self._models.lend(name))
            except TimeoutError as error:
                raise DeadlineExceeded("The model took too long to load.") from error
            yield model

    def _check_open(self) -> None:
        if self._closing:
            raise ShuttingDown("The storyteller is about to stop.", retry_after=5.0)
        if self._content is None:
            raise NotReady("The storyteller is still waking up.", retry_after=2.0)

    def _check_content(self, request: StoryRequest) -> None:
        assert self._content is not None
        strict = request.audience == "group"
        found = self._content.check_words(request.words, strict)
        for text in (request.title, request.opening, request.parent):
            found = found or (self._content.check_text(text, strict) if text else None)
        if found:
            raise UnsuitableWords(f"I don't write stories with “{found}”. Please choose something else.")

    def _load(self, card: ModelCard) -> LoadedModel:
        settings = self._settings
        if self._connection is not None:
            return connect(card, self._connection)
        return load(
            card, device=settings.device, threads=settings.compute_threads(), backend=settings.backend
        )

    def _lane(self, model: LoadedModel, num_beams: int | None) -> Lane:
        if self._connection is not None:
            return self._scheduler
        return self._whole if model.steps is None or (num_beams or 1) > 1 else self._scheduler


async def try_out(model: LoadedModel) -> None:
    """Let a model write a little, on a thread of its own, so that a bad one disturbs nobody.

    It is warm afterwards. Raises EngineError when it can't, or when its numbers are none.
    """
    telling = await asyncio.to_thread(prepare, TRIAL, model)
    telling.room = TRIAL_TOKENS
    lane = WholeLane(max_waiting=1) if model.steps is None else Scheduler(max_rows=TRIAL_ROWS, max_waiting=1)
    until = time.monotonic() + TRIAL_SECONDS
    lane.start()
    try:
        async with asyncio.timeout(TRIAL_SECONDS):
            rows = (await finished(lane, lambda sink: telling.job(0, until, sink))).rows
    except TimeoutError as error:
        raise DeadlineExceeded("It took too long.") from error
    finally:
        await asyncio.to_thread(lane.drain, 0)
    if len(rows) < TRIAL_ROWS:
        raise InternalError("Its numbers went wrong.")
