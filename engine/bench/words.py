"""`wordtale bench words`: what keeping the words costs, by ways of keeping them, over fresh requests.

Every story is read by a second model (`--judge`), because the one that wrote it is partial. Knows nothing of
HTTP.
"""

from __future__ import annotations

import asyncio
import json as jsonlib
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import numpy as np
import typer

from engine.bench.coverage import CANDIDATES, Tell, Tellers, Told, kept, make_requests, tell_all
from engine.config import EngineSettings
from engine.lexicon import level_report, match
from engine.loading import LoadedModel, load
from engine.registry import read_card
from engine.schema import Decoding, StoryRequest
from engine.scoring import repeated_share

MOST_WORDS = 5
WAYS = {
    "raw": "raw",
    "bias": "bias",
    "held": "bias + hold-back",
    "best": "best of {n}",
}


def words(
    requests: Annotated[int, typer.Option(min=1, help="How many requests.")] = 500,
    seed: Annotated[int, typer.Option(help="Which requests.")] = 51,
    n: Annotated[int, typer.Option("--n", min=2, max=32, help="Drafts to choose the best of.")] = CANDIDATES,
    judge: Annotated[Path | None, typer.Option(help="Directory of the model that reads the stories.")] = None,
    dry: Annotated[float | None, typer.Option(min=0, max=5, help="Another dry_multiplier; 0 = off.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    model: Annotated[str | None, typer.Option(help="Model to ask; the default without.")] = None,
) -> None:
    """Measure words kept, fluency, repetition and time: raw, with bias, with the end held back, best of n."""
    asked = make_requests(requests, seed, MOST_WORDS)
    if dry is not None:
        asked = [one.model_copy(update={"decoding": Decoding(dry_multiplier=dry)}) for one in asked]
    figures = asyncio.run(measure(asked, seed, n, judge, model))
    typer.echo(jsonlib.dumps(figures) if json else table(figures))


async def measure(
    requests: Sequence[StoryRequest], seed: int, n: int, judge: Path | None, model: str | None
) -> dict[str, Any]:
    """Return the figures of each way of telling (`rows`) and what they were measured with."""
    reader = Judge(judge) if judge else None
    async with Tellers.open(model, len(requests)) as tellers:
        ways: dict[str, Tell] = {
            "raw": lambda request: tellers.alone(request, keep_words=False, hold_end=False),
            "bias": lambda request: tellers.alone(request, keep_words=True, hold_end=False),
            "held": lambda request: tellers.alone(request, keep_words=True, hold_end=True),
            "best": lambda request: tellers.chosen(request, n),
        }
        told = {name: await tell_all(requests, tell) for name, tell in ways.items()}
        card = tellers.model.card
    rows = [
        {"way": name, **_figures(requests, stories, reader), "seconds": round(seconds, 1)}
        for name, (stories, seconds) in told.items()
    ]
    return {
        "model": f"{card.name} {card.version}",
        "judge": f"{reader.model.card.name} {reader.model.card.version}" if reader else None,
        "requests": len(requests),
        "seed": seed,
        "n": n,
        "rows": rows,
    }


class Judge:
    """Any causal model directory, as a reader of plain text."""

    def __init__(self, directory: Path) -> None:
        """Load it. Raises ModelRefused when it can't be loaded or can't be stepped."""
        settings = EngineSettings()
        self.model: LoadedModel = load(
            read_card(directory), device=settings.device, threads=settings.compute_threads()
        )
        if self.model.steps is None:
            raise typer.BadParameter(f"{directory} can't be read token by token")

    def bits(self, text: str) -> tuple[float, int]:
        """Return the bits that the text costs this model, and the bytes read: its context at most."""
        family, codec, steps = self.model.family, self.model.codec, self.model.steps
        assert steps is not None
        start = family.encode_plain(codec, "")
        ids = family.encode_plain(codec, text)
        ids = (ids if ids[: len(start)] == start else [*start, *ids])[: steps.context]
        places = np.arange(len(ids))
        wanted = places[len(start) - 1 : -1]
        logits = steps.step(np.array(ids), np.zeros_like(places), places, wanted).astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        chosen = logits[np.arange(len(wanted)), ids[len(start) :]]
        nats = np.log(np.exp(logits).sum(axis=1)) - chosen
        return float(nats.sum()) / np.log(2), len(codec.decode(ids[len(start) :]).encode())


def _figures(requests: Sequence[StoryRequest], told: Sequence[Told], judge: Judge | None) -> dict[str, Any]:
    stories = [story.text for story in told if story.text]
    bits = [judge.bits(text) for text in stories] if judge else []
    last = [place for request, story in zip(requests, told, strict=True) if (place := _last(request, story))]
    above = [
        level_report(story.text, request.level).share_above
        for request, story in zip(requests, told, strict=True)
        if request.level and story.text
    ]
    return kept(requests, told) | {
        "bits_per_byte": sum(cost for cost, _ in bits) / sum(size for _, size in bits) if bits else None,
        "repeated": fmean(repeated_share(text) > 0 for text in stories) if stories else None,
        "last_word": fmean(last) if last else None,
        "above_level": fmean(above) if above else None,
    }


def _last(request: StoryRequest, story: Told) -> float | None:
    """Return where, as a share of the text, the last of the words comes for the first time."""
    first: dict[str, int] = {}
    for span in match(request.words, story.text):
        first.setdefault(span.word, span.start)
    return max(first.values()) / len(story.text) if first else None


def table(figures: dict[str, Any]) -> str:
    """Return the figures as a Markdown table."""
    counts = list(figures["rows"][0]["by_words"])
    heads = ["", "all words kept", *(f"{count} words" for count in counts)]
    heads += ["bits per byte", "rept-4", "last word at", "above level", "seconds"]
    lines = [
        f"{figures['model']}, read by {figures['judge'] or 'no other model'}; "
        f"{figures['requests']} requests, seed {figures['seed']}",
        "",
        f"| {' | '.join(heads)} |",
        f"|{' --- |' * len(heads)}",
    ]
    for row in figures["rows"]:
        shares = [row["share"], *(row["by_words"][count] for count in counts)]
        cells = [WAYS[row["way"]].format(n=figures["n"]), *(f"{share:.1%}" for share in shares)]
        cells.append("-" if row["bits_per_byte"] is None else f"{row['bits_per_byte']:.3f}")
        shown = [row[name] for name in ("repeated", "last_word", "above_level")]
        cells += ["-" if share is None else f"{share:.1%}" for share in shown]
        lines.append(f"| {' | '.join(cells)} | {row['seconds']:.0f} |")
    lines += ["", f"missed by the best: {', '.join(figures['rows'][-1]['missed']) or 'none'}"]
    return "\n".join(lines)
