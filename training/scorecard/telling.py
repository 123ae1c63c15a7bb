"""The suite told by a model through the engine: raw drafts, and finished stories as learners get them.

Everything runs in this process, behind the service that the engine's HTTP door has. Knows nothing of figures.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from engine.authoring import job_events
from engine.config import EngineSettings
from engine.errors import EngineError
from engine.jobs import Finished
from engine.lane import Lane
from engine.loading import LoadedModel, load
from engine.registry import CARD, ModelCard, Registry, read_card
from engine.scheduler import Scheduler
from engine.schema import DoneEvent, ErrorEvent, StoryRequest
from engine.scoring import clean
from engine.service import StoryService
from engine.telling import prepare
from engine.whole import WholeLane
from training.scorecard.stories import Story

AT_ONCE = 4
PATIENCE = 3600.0
Step = Callable[[], None]
Tell = Callable[[StoryRequest], Awaitable[Story | str]]


@dataclass
class Told:
    """What a model told for a list of requests; a request without a story has the sentence that said why."""

    card: ModelCard
    raw: list[Story | str]
    final: list[Story | str]
    seconds: float

    @property
    def stories(self) -> list[Story]:
        """The finished stories."""
        return [story for story in self.final if isinstance(story, Story)]

    @property
    def drafts(self) -> list[Story]:
        """The raw drafts."""
        return [story for story in self.raw if isinstance(story, Story)]


class OneModel(Registry):
    """A registry with a single model directory, wherever that stands."""

    def __init__(self, settings: EngineSettings, only: ModelCard) -> None:
        super().__init__(settings)
        self._only = only

    def card(self, name: str | None = None) -> ModelCard:
        """Return the one model, whatever it is called."""
        return self._only

    def cards(self) -> list[ModelCard]:
        """Return the one model."""
        return [self._only]

    def default(self) -> str:
        """Return the one model's name."""
        return self._only.name


def find_model(model: str) -> ModelCard:
    """Return a model by directory or by the name the engine knows it under.

    Raises ModelRefused or ModelUnknown with a sentence.
    """
    path = Path(model)
    if (path / CARD).is_file():
        return read_card(path.resolve())
    return Registry(EngineSettings()).card(model)


def tell(card: ModelCard, requests: Sequence[StoryRequest], step: Step) -> Told:
    """Tell every request twice with a model: one draft that only the prompt helps, then the finished story.

    `step` is called after each text. Raises ModelRefused when the model can't be loaded.
    """
    return asyncio.run(_tell(card, requests, step))


async def _tell(card: ModelCard, requests: Sequence[StoryRequest], step: Step) -> Told:
    began = time.monotonic()
    settings = EngineSettings(deadline_seconds=PATIENCE)
    model = await asyncio.to_thread(load, card, device=settings.device, threads=settings.compute_threads())
    async with _draft_teller(model, settings) as draft:
        raw = await _all(requests, draft, step)
    service = StoryService(settings, registry=OneModel(settings, card), loader=lambda _: model)
    await service.start()
    try:
        final = await _all(requests, lambda request: _finished(service, request), step)
    finally:
        await service.aclose(0)
    return Told(card, raw, final, round(time.monotonic() - began, 1))


async def _all(requests: Sequence[StoryRequest], tell_one: Tell, step: Step) -> list[Story | str]:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(request: StoryRequest) -> Story | str:
        async with gate:
            try:
                return await tell_one(request)
            except EngineError as error:
                return error.event().message
            finally:
                step()

    return list(await asyncio.gather(*map(one, requests)))


@asynccontextmanager
async def _draft_teller(model: LoadedModel, settings: EngineSettings) -> AsyncIterator[Tell]:
    lane: Lane = (
        Scheduler(max_rows=settings.max_rows, max_waiting=settings.max_waiting)
        if model.steps
        else WholeLane(max_waiting=settings.max_waiting)
    )
    lane.start()

    async def draft(request: StoryRequest) -> Story | str:
        telling = await asyncio.to_thread(prepare, request, model, keep_words=False)
        telling.rows = 1
        deadline = time.monotonic() + PATIENCE
        source = job_events(lane, lambda sink: telling.job(0, deadline, sink), follow_up=False)
        async with aclosing(source) as events:
            async for event in events:
                if isinstance(event, Finished):
                    parsed = model.family.parse(event.rows[0].tokens, model.codec, request)
                    return _story(request, parsed.title, clean(parsed.text), parsed.finished)
        return "The decoder gave no answer."

    try:
        yield draft
    finally:
        await asyncio.to_thread(lane.drain, 0)


async def _finished(service: StoryService, request: StoryRequest) -> Story | str:
    answer: Story | str = "The engine gave no answer."
    async with aclosing(service.stories(request)) as events:
        async for event in events:
            if isinstance(event, DoneEvent):
                answer = _story(request, event.result.title, event.result.text, True)
            elif isinstance(event, ErrorEvent):
                answer = event.message
    return answer


def _story(request: StoryRequest, title: str, text: str, finished: bool) -> Story:
    return Story(title, text, tuple(request.words), request.genre, request.level, finished)


def write_told(path: Path, asked: Sequence[StoryRequest], told: Told) -> None:
    """Write what was asked and told as JSON lines: request, raw draft, story or why there is none."""
    rows = zip(asked, told.raw, told.final, strict=True)
    lines = [
        json.dumps(
            {
                "request": request.model_dump(mode="json", exclude_defaults=True),
                "raw": _shown(raw),
                "story": _shown(final),
            },
            ensure_ascii=False,
        )
        for request, raw, final in rows
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _shown(story: Story | str) -> dict[str, str]:
    if isinstance(story, str):
        return {"error": story}
    return {"title": story.title, "text": story.text}
