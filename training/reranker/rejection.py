"""Rejection sampling: of many drafts for fresh requests the best few per cent become training documents.

A draft is taken only with all its words, whole, within its level, without repetition and not copied from
training text; among those the engine's own score decides, with a learned scorer if there is one. Resumable.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from engine.lexicon import level_report
from engine.registry import read_card
from engine.schema import Level, StoryRequest
from engine.scoring import LEVEL_TOLERANCE, repeated_share, worn_share
from training.data.documents import Document, read_documents, write_documents
from training.data.labels import content_words
from training.data.prepare import document_path
from training.reranker.fresh import fresh_requests, vocabulary_of
from training.reranker.making import written_stories
from training.reranker.writing import Writer, read_told, write_told
from training.scorecard.copying import copied

SOURCE = "wordtale_best"
MAX_REPEATED, MAX_WORN, MAX_COPIED = 0.02, 0.06, 0.1
MIN_WORDS = 25
# Of the best, how many times as many as are kept are compared with the training text.
COMPARED = 2


@dataclass(frozen=True)
class Found:
    """A draft that may be kept; `learned` is the scorer's score, if there is one."""

    id: str
    request: StoryRequest
    title: str
    text: str
    score: float
    learned: float | None


def collect(
    model: Path,
    folder: Path,
    data: Path,
    *,
    stories: int,
    keep: float,
    candidates: int,
    seed: int,
    reranker: Path | None,
    report: Callable[[str], None],
) -> dict[str, Any]:
    """Tell `candidates` drafts for each of `stories` requests and write the best as `wordtale_best`.

    Return a card. At most one draft of a request is kept, and at most `keep` of all drafts. Raises
    FileNotFoundError without prepared data, ModelRefused for what is no model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written, _ = written_stories(data)
    requests = fresh_requests(stories, seed, vocabulary_of(written))
    told = folder / f"fresh-{seed}.jsonl"
    writer = Writer(model, threads=torch.get_num_threads(), reranker=reranker)
    try:
        if writer.model.reranker is None:
            report("no learned scorer: the model's own likelihood and what can be counted decide")
        asked = [
            (f"{seed}-{number}", request.model_copy(update={"n_candidates": candidates}))
            for number, request in enumerate(requests)
        ]
        write_told(told, writer, asked, report)
    finally:
        writer.close()
    ids = {name for name, _ in asked}
    rows = [row for row in read_told(told) if row["id"] in ids]
    drafts = sum(len(row["drafts"]) for row in rows)
    passed = sorted(_passing(rows), key=lambda found: -found.score)
    wanted = max(1, round(keep * drafts))
    kept, copies = _original(passed[: COMPARED * wanted], data, wanted)
    common = _common_words(data)
    write_documents(document_path(folder, SOURCE), (_document(found, common) for found in kept))
    return _card(folder, model, requests, drafts, passed, kept, copies, seed)


def _passing(rows: Sequence[dict[str, Any]]) -> Iterator[Found]:
    """Yield the best draft of each request that passes every check."""
    seen: set[str] = set()
    for row in rows:
        request = StoryRequest.model_validate(row["request"])
        found = [
            Found(row["id"], request, draft["title"], draft["text"], draft["score"], draft["learned"])
            for draft in row["drafts"]
            if not draft["missed"] and not draft["cut"]
        ]
        for best in sorted(found, key=lambda each: -each.score):
            if best.text not in seen and _passes(best):
                seen.add(best.text)
                yield best
                break


def _passes(found: Found) -> bool:
    if len(found.text.split()) < MIN_WORDS:
        return False
    if repeated_share(found.text) > MAX_REPEATED or worn_share(found.text) > MAX_WORN:
        return False
    asked = found.request.level
    if asked is None:
        return True
    report = level_report(found.text, asked)
    levels = list(Level)
    return report.share_above <= LEVEL_TOLERANCE and levels.index(report.measured) <= levels.index(asked)


def _original(found: Sequence[Found], data: Path, wanted: int) -> tuple[list[Found], int]:
    """Return the first `wanted` that stand nowhere in the training text, and how many were passed over."""
    copies = copied([each.text for each in found], _training_texts(data))
    kept: list[Found] = []
    over = 0
    for each, copy in zip(found, copies, strict=True):
        if len(kept) == wanted:
            break
        if (copy.share or 0.0) > MAX_COPIED:
            over += 1
        else:
            kept.append(each)
    return kept, over


def _training_texts(data: Path) -> Iterator[str]:
    for path in sorted(data.glob("*.jsonl")):
        for document in read_documents(path):
            yield document.text


def _common_words(data: Path) -> frozenset[str]:
    path = data / "common_words.json"
    return frozenset(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else frozenset()


def _document(found: Found, common: frozenset[str]) -> Document:
    request = found.request
    return Document(
        source=SOURCE,
        kind="story",
        text=found.text,
        group=f"{SOURCE} {found.id}",
        title=found.title,
        genre=request.genre.value if request.genre else None,
        level=level_report(found.text, request.level).measured.value,
        words=list(request.words),
        content=content_words(found.text, common),
    )


def _card(
    folder: Path,
    model: Path,
    requests: Sequence[StoryRequest],
    drafts: int,
    passed: Sequence[Found],
    kept: Sequence[Found],
    copies: int,
    seed: int,
) -> dict[str, Any]:
    card = read_card(model)
    scores = [found.learned for found in kept if found.learned is not None]
    mean = sum(scores) / len(scores) if scores else None
    made = {
        "source": SOURCE,
        "licence": "CC0-1.0",
        "credit": "Wordtale",
        "model": f"{card.name} {card.version}",
        "seed": seed,
        "requests": len(requests),
        "drafts": drafts,
        "requests_with_a_passing_draft": len(passed),
        "passed_over_as_copies": copies,
        "kept": len(kept),
        "share_of_drafts_kept": round(len(kept) / drafts, 4) if drafts else 0.0,
        "mean_learned_score_of_kept": round(mean, 3) if mean is not None else None,
    }
    (folder / f"{SOURCE}_card.json").write_text(json.dumps(made, indent=1), encoding="utf-8")
    return made
