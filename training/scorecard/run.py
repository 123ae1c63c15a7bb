"""A whole evaluation: tell the suite, read people's held-out stories, take every figure.

Knows the order of things; the figures, the engine and the files are others'.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine.config import EngineSettings
from engine.loading import load
from engine.prompts import family_for
from engine.registry import ModelCard, read_card
from engine.schema import Decoding, StoryRequest
from training.data.documents import read_documents
from training.scorecard.copying import copied
from training.scorecard.figures import FIGURES, Figure, LearnedScore, Tools, bits_figure, measure
from training.scorecard.result import Column, Scorecard, row_of, values_of
from training.scorecard.stories import Measured, Story, mean, spoilt, written
from training.scorecard.suite import read_suite, suite_hash
from training.scorecard.telling import Step, Told, find_model, tell

PEOPLE = "wordtale_stories"
HELD_OUT = 400
GENRES = "genre_classifier.npz"
SPOILT = ("shuffled", "spliced", "names", "repeated")

Progress = Callable[[str, int], Step]
"""Announces a stage and its number of steps; what it returns is called after each."""


@dataclass
class Plan:
    """What to evaluate and how. Without `candidates` the engine drafts as many as for any seed."""

    models: list[str]
    data: Path
    judge: Path
    requests: int
    seed: int
    command: str
    candidates: int | None = None
    decoding: Decoding = field(default_factory=Decoding)
    people: int = HELD_OUT
    sanity: bool = False


@dataclass
class Outcome:
    """The scorecard and the stories behind it."""

    card: Scorecard
    told: list[Told]
    asked: list[StoryRequest]


def evaluate(plan: Plan, progress: Progress) -> Outcome:
    """Carry out a plan. Raises FileNotFoundError without data or judge, EngineError for a model refused."""
    found = [find_model(model) for model in plan.models]
    people = _people(plan.data, plan.people)
    tools, notes = _tools(plan)
    asked = requests_of(plan)
    told = [tell(card, asked, progress(f"telling: {card.name}", 2 * len(asked))) for card in found]
    sets: list[tuple[Column, Sequence[Story], Sequence[Story]]] = [
        (_column(one, plan.decoding, len(asked)), one.stories, one.drafts) for one in told
    ]
    sets.append((Column(name="people", kind="people", stories=len(people)), people, people))
    for way in SPOILT if plan.sanity else ():
        stories = spoilt(people, way)
        sets.append((Column(name=way, kind="spoilt", stories=len(stories)), stories, stories))
    columns, documents = _measured(sets, plan.data, tools, progress)
    rows: list[Figure] = list(FIGURES)
    for card, one, column in zip(found, told, columns, strict=False):
        answers = mean(float(isinstance(story, Story)) for story in one.final)
        figures = {"told": answers, **bits(card, plan.data, plan.people)}
        column.figures |= values_of(figures)
        rows += [row for key in figures if (row := _bits_row(key)) and row not in rows]
    if not any(row.key.startswith("bits") for row in rows):
        notes.append("no bits per byte: they need a model of the storyteller family and held-out texts")
    result = Scorecard(
        command=plan.command,
        suite_sha256=suite_hash(),
        requests=len(asked),
        seed=plan.seed,
        candidates=plan.candidates,
        judge=tools.judge.version if tools.judge else "",
        held_out_sha256=_digest(story.text for story in people),
        training_documents=documents,
        notes=notes,
        rows=[row_of(row) for row in rows],
        columns=columns,
    )
    return Outcome(result, told, asked)


def requests_of(plan: Plan) -> list[StoryRequest]:
    """Return the first requests of the suite as they are asked: seeds from `seed` on, the plan's decoding."""
    return [
        request.model_copy(
            update={
                "seed": plan.seed + number,
                "n_candidates": plan.candidates,
                "decoding": plan.decoding,
            }
        )
        for number, request in enumerate(read_suite()[: plan.requests])
    ]


def bits(card: ModelCard, data: Path, limit: int) -> dict[str, Measured]:
    """Return held-out bits per byte of a model by source; empty for other families than the storyteller's."""
    if card.family != "storyteller":
        return {}
    from engine.prompts.codec import Codec
    from training.evaluate import HELD_OUT_SOURCES, bits_per_byte, held_out
    from training.machine import detect
    from training.model import load_model

    model, _ = load_model(card.directory)
    codec = Codec.from_directory(card.directory)
    figures = {}
    for source in HELD_OUT_SOURCES:
        documents = held_out(data, source, limit)
        if documents:
            value = bits_per_byte(
                model,
                codec,
                documents,
                card.context or 512,
                bf16=detect(EngineSettings().compute_threads(), compile_network=False).bf16,
            )
            figures[bits_figure(source).key] = Measured(value, len(documents))
    return figures


def _bits_row(key: str) -> Figure | None:
    start, _, source = key.partition(".")
    return bits_figure(source) if start == "bits_per_byte" else None


def _people(data: Path, limit: int) -> list[Story]:
    from training.evaluate import held_out

    documents = held_out(data, PEOPLE, limit)
    if not documents:
        raise FileNotFoundError(f"no held-out {PEOPLE} in {data}: run `wordtale train prepare` first")
    return [written(document) for document in documents]


def _tools(plan: Plan) -> tuple[Tools, list[str]]:
    from training.data.embeddings import Embedder
    from training.data.genre import GenreClassifier
    from training.scorecard.judge import Judge

    notes = []
    genres = None
    if (plan.data / GENRES).exists():
        genres = GenreClassifier.load(plan.data / GENRES)
    else:
        notes.append(f"no genre figure: there is no {GENRES} in {plan.data}")
    learned = _learned(plan.judge)
    if learned is None:
        notes.append(f"no learned score: there is no scorer in {plan.judge}")
    return Tools(Embedder(), genres, Judge(plan.judge), learned), notes


def _learned(directory: Path) -> LearnedScore | None:
    """Return the scorer that stands in a model directory, the same for every column; None without one."""
    settings = EngineSettings()
    model = load(read_card(directory), device=settings.device, threads=settings.compute_threads())
    reranker = model.reranker
    if reranker is None:
        return None

    def scores(stories: Sequence[Story]) -> list[float]:
        return [
            reranker.scores(
                StoryRequest(genre=story.genre, level=story.level, words=list(story.words)),
                [(story.title, story.text)],
            )[0]
            for story in stories
        ]

    return scores


def _column(told: Told, decoding: Decoding, asked: int) -> Column:
    card = told.card
    used = decoding.over(family_for(card.family).decoding)
    weights = hashlib.sha256()
    for path in sorted(card.directory.glob("*.safetensors")):
        weights.update(path.read_bytes())
    return Column(
        name=card.name,
        kind="model",
        stories=len(told.stories),
        version=card.version,
        family=card.family,
        parameters=card.parameters,
        weights_sha256=weights.hexdigest(),
        decoding=used.model_dump(exclude_none=True),
        seconds=told.seconds,
        refused=sorted({answer for answer in told.final if isinstance(answer, str)}),
    )


def _measured(
    sets: Sequence[tuple[Column, Sequence[Story], Sequence[Story]]],
    data: Path,
    tools: Tools,
    progress: Progress,
) -> tuple[list[Column], int]:
    """Fill in the figures of every column; return the columns and the number of training documents read."""
    documents = 0

    def training() -> Iterator[str]:
        nonlocal documents
        paths = sorted(data.glob("*.jsonl"))
        step = progress("comparing with training text", len(paths))
        for path in paths:
            for document in read_documents(path):
                if not document.held_out:
                    documents += 1
                    yield document.text
            step()

    copies = iter(copied([story.text for _, stories, _ in sets for story in stories], training()))
    step = progress("measuring", len(sets))
    for column, stories, drafts in sets:
        own = [next(copies) for _ in stories]
        column.figures = values_of(measure(stories, drafts, own, tools))
        step()
    return [column for column, _, _ in sets], documents


def _digest(texts: Iterator[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()
