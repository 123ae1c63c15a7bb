"""`wordtale bench coverage`: how many of N generated requests get a story with all their words.

Three ways over the same requests: the model alone, one draft with word keeping, and the best of several,
which is what learners get. Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import json as jsonlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.authoring import job_events
from engine.config import EngineSettings
from engine.jobs import Finished
from engine.loading import LoadedModel, load
from engine.registry import Registry
from engine.scheduler import Scheduler
from engine.schema import DoneEvent, ErrorEvent, Genre, Length, Level, StoryRequest
from engine.service import StoryService
from engine.telling import prepare

AT_ONCE = 4
MAX_WORDS = 4
CANDIDATES = 8
KINDS = (
    "nouns",
    "nouns",
    "nouns",
    "verbs",
    "verbs",
    "adjectives",
    "adverbs",
    "names",
    "names",
    "phrases",
    "rare",
)
DATA = Path(__file__).parent.parent / "data" / "coverage_words.txt"


@dataclass(frozen=True)
class Told:
    """One story of a request and the words missing from it."""

    text: str
    missed: list[str]


Tell = Callable[[StoryRequest], Awaitable[Told]]


@lru_cache(maxsize=1)
def _words() -> dict[str, list[str]]:
    lines = DATA.read_text(encoding="utf-8").splitlines()
    parts = [line.split() for line in lines if line and not line.startswith("#")]
    return {kind: [word.replace("_", " ") for word in words] for kind, *words in parts}


def make_requests(count: int, seed: int, most: int = MAX_WORDS) -> list[StoryRequest]:
    """Return `count` requests of 1 to `most` words; the same for the same seed."""
    chance = random.Random(seed)
    made = []
    for number in range(count):
        words: dict[str, None] = {}
        while len(words) < number % most + 1:
            words[chance.choice(_words()[chance.choice(KINDS)])] = None
        made.append(
            StoryRequest(
                words=list(words),
                genre=chance.choice([None, *Genre]),
                level=chance.choice([None, *Level]),
                length=chance.choice([None, Length.SHORT, Length.MEDIUM]),
                seed=chance.randrange(2**31),
            )
        )
    return made


def coverage(
    requests: Annotated[int, typer.Option(min=1, help="How many requests.")] = 200,
    seed: Annotated[int, typer.Option(help="Which requests.")] = 1,
    json: Annotated[bool, typer.Option(help="Print one JSON object.")] = False,
    model: Annotated[str | None, typer.Option(help="Model to ask; the default without.")] = None,
) -> None:
    """Count the stories that use all words asked for: alone, with word keeping, best of several."""
    figures = asyncio.run(measure(make_requests(requests, seed), model))
    typer.echo(jsonlib.dumps(figures) if json else _table(figures))


class Tellers:
    """Ways of telling a request with one model: drafts of its own making, and the service's choice."""

    def __init__(self, service: StoryService, scheduler: Scheduler, model: LoadedModel) -> None:
        self._service, self._scheduler = service, scheduler
        self.model = model

    @classmethod
    @asynccontextmanager
    async def open(cls, name: str | None, waiting: int) -> AsyncIterator[Tellers]:
        """Load the model `name`, the default without one; `waiting` requests may stand in line."""
        settings = EngineSettings()
        card = Registry(settings).card(name)
        service = StoryService(settings)
        await service.start()
        scheduler = Scheduler(max_rows=settings.max_rows, max_waiting=waiting, name="alone")
        scheduler.start()
        try:
            loaded = await asyncio.to_thread(
                load,
                card,
                device=settings.device,
                threads=settings.compute_threads(),
                backend=settings.backend,
            )
            yield cls(service, scheduler, loaded)
        finally:
            scheduler.drain(0)
            await service.aclose(0)

    async def alone(self, request: StoryRequest, *, keep_words: bool, hold_end: bool) -> Told:
        """Return one draft, steered as asked (see `engine.telling.prepare`)."""
        telling = await asyncio.to_thread(
            prepare, request, self.model, keep_words=keep_words, hold_end=hold_end
        )
        telling.rows = 1
        source = job_events(
            self._scheduler, lambda sink: telling.job(0, time.monotonic() + 600, sink), follow_up=False
        )
        async with aclosing(source) as events:
            async for event in events:
                if isinstance(event, Finished):
                    draft = telling.drafts(event.rows)[0]
                    return Told(draft.text, draft.missed)
        return Told("", list(request.words))

    async def chosen(self, request: StoryRequest, count: int) -> Told:
        """Return the story that a learner gets of `count` drafts; none is told when the service refuses."""
        asked = request.model_copy(update={"n_candidates": count, "model": self.model.card.name})
        async with aclosing(self._service.stories(asked)) as events:
            async for event in events:
                if isinstance(event, DoneEvent):
                    return Told(event.result.text, event.result.words_missed)
                if isinstance(event, ErrorEvent):
                    typer.echo(f"{request.words}: {event.message}", err=True)
        return Told("", list(request.words))


async def tell_all(requests: Sequence[StoryRequest], tell: Tell) -> tuple[list[Told], float]:
    """Return the stories of all requests, some told at a time, and the seconds that took."""
    began = time.perf_counter()
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(request: StoryRequest) -> Told:
        async with gate:
            return await tell(request)

    return list(await asyncio.gather(*map(one, requests))), time.perf_counter() - began


async def measure(requests: Sequence[StoryRequest], model: str | None) -> dict[str, Any]:
    """Return, for each way of telling, the share of requests with all words used, and seconds."""
    async with Tellers.open(model, len(requests)) as tellers:
        ways: dict[str, Tell] = {
            "raw": lambda request: tellers.alone(request, keep_words=False, hold_end=False),
            "one": lambda request: tellers.chosen(request, 1),
            "best": lambda request: tellers.chosen(request, CANDIDATES),
        }
        card = tellers.model.card
        figures: dict[str, Any] = {"model": card.name, "version": card.version, "requests": len(requests)}
        for name, tell in ways.items():
            told, seconds = await tell_all(requests, tell)
            figures[name] = kept(requests, told) | {"seconds": round(seconds, 1)}
    return figures


def kept(requests: Sequence[StoryRequest], told: Sequence[Told]) -> dict[str, Any]:
    """Return the share of stories with all words, in all and by number of words, and the words missed."""
    by_words: dict[int, list[bool]] = {}
    for request, story in zip(requests, told, strict=True):
        by_words.setdefault(len(request.words), []).append(not story.missed)
    return {
        "share": sum(not story.missed for story in told) / len(told),
        "by_words": {str(n): sum(by_words[n]) / len(by_words[n]) for n in sorted(by_words)},
        "missed": sorted({word for story in told for word in story.missed}),
    }


def _table(figures: dict[str, Any]) -> str:
    names = {"raw": "the model alone", "one": "one draft, words kept", "best": f"best of {CANDIDATES}"}
    counts = list(figures["raw"]["by_words"])
    head = " ".join(f"{count + ' words':>8}" for count in counts)
    lines = [
        f"{figures['model']} {figures['version']}, {figures['requests']} requests: all words used in",
        f"{'':24}{'all':>7} {head} {'seconds':>8}",
    ]
    for name, title in names.items():
        found = figures[name]
        shares = " ".join(f"{found['by_words'][count]:8.1%}" for count in counts)
        lines.append(f"{title:<24}{found['share']:7.1%} {shares} {found['seconds']:8.1f}")
    lines.append(f"missed by the best: {', '.join(figures['best']['missed']) or 'none'}")
    return "\n".join(lines)
