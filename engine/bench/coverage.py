"""`wordtale bench coverage`: how many of N generated requests get a story with all their words.

Three ways over the same requests: the model alone, one draft with word keeping, and the best of several,
which is what learners get. Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import json as jsonlib
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.authoring import job_events
from engine.config import EngineSettings
from engine.jobs import Finished
from engine.lexicon import used_words
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

Tell = Callable[[StoryRequest], Awaitable[list[str]]]


@lru_cache(maxsize=1)
def _words() -> dict[str, list[str]]:
    lines = DATA.read_text(encoding="utf-8").splitlines()
    parts = [line.split() for line in lines if line and not line.startswith("#")]
    return {kind: [word.replace("_", " ") for word in words] for kind, *words in parts}


def make_requests(count: int, seed: int) -> list[StoryRequest]:
    """Return `count` requests of 1 to 4 words; the same for the same seed."""
    chance = random.Random(seed)
    made = []
    for number in range(count):
        words: dict[str, None] = {}
        while len(words) < number % MAX_WORDS + 1:
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


async def measure(requests: Sequence[StoryRequest], model: str | None) -> dict[str, Any]:
    """Return, for each way of telling, the share of requests with all words used, and seconds."""
    settings = EngineSettings()
    card = Registry(settings).card(model)
    service = StoryService(settings)
    await service.start()
    scheduler = Scheduler(max_rows=settings.max_rows, max_waiting=len(requests), name="raw")
    scheduler.start()
    loaded = await asyncio.to_thread(load, card, device=settings.device, threads=settings.compute_threads())
    ways: dict[str, Tell] = {
        "raw": lambda request: _raw(scheduler, loaded, request),
        "one": lambda request: _kept(service, request.model_copy(update={"n_candidates": 1, "model": model})),
        "best": lambda request: _kept(
            service, request.model_copy(update={"n_candidates": CANDIDATES, "model": model})
        ),
    }
    figures: dict[str, Any] = {"model": card.name, "version": card.version, "requests": len(requests)}
    for name, tell in ways.items():
        figures[name] = await _count(requests, tell)
    scheduler.drain(0)
    await service.aclose(0)
    return figures


async def _count(requests: Sequence[StoryRequest], tell: Tell) -> dict[str, Any]:
    began = time.perf_counter()
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(request: StoryRequest) -> list[str]:
        async with gate:
            return await tell(request)

    missed = await asyncio.gather(*map(one, requests))
    by_words: dict[int, list[bool]] = {}
    for request, words in zip(requests, missed, strict=True):
        by_words.setdefault(len(request.words), []).append(not words)
    every = [kept for kept_all in by_words.values() for kept in kept_all]
    return {
        "share": sum(every) / len(every),
        "by_words": {str(n): sum(by_words[n]) / len(by_words[n]) for n in sorted(by_words)},
        "missed": sorted({word for words in missed for word in words}),
        "seconds": round(time.perf_counter() - began, 1),
    }


async def _raw(scheduler: Scheduler, model: LoadedModel, request: StoryRequest) -> list[str]:
    """Return the words missing from one draft that nothing but the prompt helped."""
    telling = await asyncio.to_thread(prepare, request, model, keep_words=False)
    telling.rows = 1
    source = job_events(scheduler, lambda sink: telling.job(0, time.monotonic() + 600, sink), follow_up=False)
    async with aclosing(source) as events:
        async for event in events:
            if isinstance(event, Finished):
                return used_words(request.words, telling.drafts(event.rows)[0].text)[1]
    return list(request.words)


async def _kept(service: StoryService, request: StoryRequest) -> list[str]:
    """Return the words missing from the service's story; all of them when there is none."""
    async with aclosing(service.stories(request)) as events:
        async for event in events:
            if isinstance(event, DoneEvent):
                return event.result.words_missed
            if isinstance(event, ErrorEvent):
                typer.echo(f"{request.words}: {event.message}", err=True)
    return list(request.words)


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
