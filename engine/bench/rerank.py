"""`wordtale bench rerank`: what choosing among more drafts brings, with and without the learned scorer.

The first n drafts of one decoding are those that a request for n would get, so every n is measured on the
same drafts. Knows nothing of HTTP.
"""

from __future__ import annotations

import json as jsonlib
import queue
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.bench.coverage import make_requests
from engine.config import EngineSettings
from engine.jobs import Failed, Finished, JobEvent, RowResult
from engine.lexicon import level_report
from engine.loading import LoadedModel, load
from engine.registry import Registry
from engine.scheduler import Scheduler
from engine.schema import MAX_CANDIDATES, StoryRequest
from engine.scoring import Draft, best_of, repeated_share, with_learned
from engine.telling import Telling, prepare

DEADLINE_SECONDS = 600.0
TIMED_REQUESTS = 5
PLAIN, LEARNED = "plain", "learned"


def rerank(
    requests: Annotated[int, typer.Option(min=1, help="How many requests.")] = 40,
    seed: Annotated[int, typer.Option(help="Which requests.")] = 7,
    n: Annotated[str, typer.Option("--n", help="Numbers of drafts, separated by commas.")] = "1,4,8,16,32",
    out: Annotated[Path | None, typer.Option(help="Write the chosen stories here, for readers.")] = None,
    model: Annotated[str | None, typer.Option(help="Model to ask; the default without.")] = None,
    reranker: Annotated[Path | None, typer.Option(help="Scorer's folder, if not the model's own.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure the stories chosen from more and more drafts, with and without the learned scorer."""
    try:
        numbers = sorted({int(part) for part in n.split(",")})
    except ValueError:
        numbers = []
    if not numbers or not 1 <= numbers[0] <= numbers[-1] <= MAX_CANDIDATES:
        raise typer.BadParameter(f"--n takes numbers from 1 to {MAX_CANDIDATES}, separated by commas")
    settings = EngineSettings()
    card = Registry(settings).card(model)
    loaded = load(card, device=settings.device, threads=settings.compute_threads(), reranker=reranker)
    figures, chosen = measure(make_requests(requests, seed), loaded, numbers)
    if out is not None:
        random.Random(seed).shuffle(chosen)
        out.write_text(
            "".join(jsonlib.dumps(row, ensure_ascii=False) + "\n" for row in chosen), encoding="utf-8"
        )
    typer.echo(jsonlib.dumps(figures) if json else _table(figures))


def measure(
    requests: Sequence[StoryRequest], model: LoadedModel, numbers: Sequence[int]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return figures by way of choosing and number of drafts, and the stories chosen for readers."""
    scheduler = Scheduler(max_rows=MAX_CANDIDATES, max_waiting=len(requests), name="rerank")
    scheduler.start()
    picks: dict[tuple[str, int], list[tuple[StoryRequest, Draft]]] = {}
    chosen: list[dict[str, Any]] = []
    try:
        for place, request in enumerate(requests):
            drafts = _drafts(scheduler, model, request, numbers[-1])
            for number in numbers:
                ways = _chosen([draft for draft in drafts if draft.index < number], model, request)
                for way, best in ways.items():
                    picks.setdefault((way, number), []).append((request, best))
                best = ways.get(LEARNED, ways[PLAIN])
                asked = request.model_dump(mode="json", exclude_defaults=True)
                name = f"{place + 1}-{random.Random(f'{place} {number}').randrange(10**6):06d}"
                row = {"id": name, "n": number, "request": asked, "title": best.title, "text": best.text}
                chosen.append(row)
        seconds = {number: _seconds(scheduler, model, requests, number) for number in numbers}
    finally:
        scheduler.drain(0)
    rows = [
        {"choice": way, "n": number, **_figures(picks[way, number]), "seconds": seconds[number][way]}
        for way, number in sorted(picks)
    ]
    name = f"{model.card.name} {model.card.version}"
    return {"model": name, "requests": len(requests), "rows": rows}, chosen


def _decoded(scheduler: Scheduler, telling: Telling) -> list[RowResult]:
    ended: queue.Queue[JobEvent] = queue.Queue()

    def sink(event: JobEvent) -> None:
        if isinstance(event, Finished | Failed):
            ended.put(event)

    scheduler.submit(telling.job(0, time.monotonic() + DEADLINE_SECONDS, sink))
    event = ended.get()
    if isinstance(event, Failed):
        raise event.error
    assert isinstance(event, Finished)
    return event.rows


def _drafts(scheduler: Scheduler, model: LoadedModel, request: StoryRequest, number: int) -> list[Draft]:
    """Return `number` drafts of a request with the learned scores on them, if there is a scorer."""
    telling = prepare(request.model_copy(update={"n_candidates": number}), replace(model, reranker=None))
    drafts = [draft for draft in telling.drafts(_decoded(scheduler, telling)) if draft.text]
    if model.reranker is None:
        return drafts
    scores = model.reranker.scores(request, [(draft.title, draft.text) for draft in drafts])
    return [replace(draft, learned=score) for draft, score in zip(drafts, scores, strict=True)]


def _chosen(drafts: Sequence[Draft], model: LoadedModel, request: StoryRequest) -> dict[str, Draft]:
    ways = {PLAIN: best_of(drafts)}
    if model.reranker is not None:
        scores = [draft.learned or 0.0 for draft in drafts]
        ways[LEARNED] = best_of(with_learned(drafts, scores, model.reranker.weight))
    return ways


def _seconds(
    scheduler: Scheduler, model: LoadedModel, requests: Sequence[StoryRequest], number: int
) -> dict[str, float]:
    """Return the median seconds of one request with so many drafts, alone on the machine."""
    found: dict[str, list[float]] = {PLAIN: [], LEARNED: []}
    for request in requests[:TIMED_REQUESTS]:
        telling = prepare(request.model_copy(update={"n_candidates": number}), replace(model, reranker=None))
        began = time.perf_counter()
        drafts = telling.drafts(_decoded(scheduler, telling))
        plain = time.perf_counter()
        if model.reranker is not None and number > 1:
            model.reranker.scores(request, [(draft.title, draft.text) for draft in drafts])
        found[PLAIN].append(plain - began)
        found[LEARNED].append(time.perf_counter() - began)
    return {way: round(statistics.median(times), 3) for way, times in found.items()}


def _figures(picks: Sequence[tuple[StoryRequest, Draft]]) -> dict[str, Any]:
    learned = [draft.learned for _, draft in picks if draft.learned is not None]
    above = [level_report(draft.text, request.level).share_above for request, draft in picks if request.level]
    asked = [draft for request, draft in picks if request.words]
    return {
        "learned": round(statistics.mean(learned), 3) if learned else None,
        "logprob": round(statistics.mean(draft.logprob for _, draft in picks), 3),
        "words_kept": round(statistics.mean(not draft.missed for draft in asked), 3) if asked else None,
        "above_level": round(statistics.mean(above), 4) if above else None,
        "repeated": round(statistics.mean(repeated_share(draft.text) for _, draft in picks), 4),
        "cut": round(statistics.mean(draft.cut for _, draft in picks), 3),
        "words": round(statistics.mean(len(draft.text.split()) for _, draft in picks), 1),
    }


def _table(figures: dict[str, Any]) -> str:
    columns = ("learned", "logprob", "words_kept", "above_level", "repeated", "cut", "words", "seconds")
    head = f"{'choice':9}{'n':>3}" + "".join(f"{name.replace('_', ' '):>12}" for name in columns)
    lines = [f"{figures['model']}, {figures['requests']} requests", head]
    for row in figures["rows"]:
        values = "".join(f"{'-' if row[name] is None else row[name]:>12}" for name in columns)
        lines.append(f"{row['choice']:9}{row['n']:>3}{values}")
    return "\n".join(lines)
