"""`wordtale bench latency`: waiting times of learners, one alone and several at once, over one service.

Knows nothing of HTTP; what the wire adds is milliseconds.
"""

from __future__ import annotations

import asyncio
import json as jsonlib
import statistics
import time
from typing import Annotated, Any

import typer

from engine.config import EngineSettings
from engine.schema import DoneEvent, Genre, Length, Level, StoryRequest, TextEvent
from engine.service import StoryService

WORDS = ("Tom", "dinner", "river", "letter", "umbrella", "station", "Anna", "garden", "late", "brave")


def _request(number: int) -> StoryRequest:
    genres = list(Genre)
    return StoryRequest(
        genre=genres[number % len(genres)],
        words=[WORDS[number % len(WORDS)], WORDS[(number * 3 + 1) % len(WORDS)]],
        level=Level.A2,
        length=Length.SHORT,
        person=f"learner-{number}",
    )


async def _one(service: StoryService, number: int) -> tuple[float, float, int, int]:
    started = time.perf_counter()
    first = total = 0.0
    tokens = n = 0
    async for event in service.stories(_request(number)):
        now = (time.perf_counter() - started) * 1000
        if isinstance(event, TextEvent) and not first:
            first = now
        if isinstance(event, DoneEvent):
            total, tokens, n = now, event.result.timing.tokens, event.result.n
    return first or total, total, tokens, n


def _figures(rows: list[tuple[float, float, int, int]], seconds: float) -> dict[str, float]:
    firsts, totals = sorted(row[0] for row in rows), sorted(row[1] for row in rows)
    last = max(0, round(0.95 * len(rows)) - 1)
    return {
        "stories": len(rows),
        "first_text_p50_ms": round(statistics.median(firsts)),
        "first_text_p95_ms": round(firsts[last]),
        "story_p50_ms": round(statistics.median(totals)),
        "story_p95_ms": round(totals[last]),
        "tokens_per_second": round(sum(row[2] for row in rows) / seconds),
        "candidates_mean": round(statistics.mean(row[3] for row in rows), 1),
    }


async def measure(rounds: int) -> dict[str, Any]:
    """Return figures for 1 and 16 learners at once: `rounds` stories each, after a warm-up story."""
    service = StoryService(EngineSettings())
    started = time.perf_counter()
    await service.start()
    figures: dict[str, Any] = {"start_to_ready_s": round(time.perf_counter() - started, 2)}
    try:
        await _one(service, 0)
        for learners in (1, 16):
            rows: list[tuple[float, float, int, int]] = []
            began = time.perf_counter()
            for turn in range(rounds):
                asked = (_one(service, turn * learners + learner) for learner in range(learners))
                rows += await asyncio.gather(*asked)
            figures[f"at_{learners}"] = _figures(rows, time.perf_counter() - began)
    finally:
        await service.aclose(1.0)
    return figures


def latency(
    rounds: Annotated[int, typer.Option(help="Stories that each learner asks for.")] = 5,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure waiting times of 1 and of 16 learners at once."""
    figures = asyncio.run(measure(rounds))
    if json:
        typer.echo(jsonlib.dumps(figures))
        return
    for name, value in figures.items():
        typer.echo(f"{name}: {value}")
