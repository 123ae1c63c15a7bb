"""Labels of clean documents: content words, measured level, genre and storyline.

Knows which sources get which label; knows nothing of reading, duplicates or the data card.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from engine.schema import Genre
from training.data.documents import Document
from training.data.genre import GenreClassifier, GenreFigures, figures
from training.data.labelling import Labeller, chosen
from training.data.labels import content_words
from training.data.levels import measured_level

HEART = "wordtale_stories"
# Fewer stories than this of two genres or more say nothing of a classifier.
LEAST_STORIES = 50
# Documents of a source that get a storyline and a genre; None: all of them. Embedding is nearly all the time.
LABELLED: dict[str, int | None] = {
    HEART: None,
    "tinystories": 2048,
    "tinyfabulist": 512,
    "pratham_books": None,
    "african_storybook": None,
    "bookdash": None,
    "aesop_fables": None,
}


class Watch(Protocol):
    """Told of each step how much is done; `total` 0 when nobody knows."""

    def __call__(self, step: str, done: int, total: int) -> None: ...


LevelTable = dict[str, dict[str, int]]


@dataclass(frozen=True)
class Genres:
    """The classifier learned from our own stories, and how well it does on those held out."""

    classifier: GenreClassifier
    figures: GenreFigures


def limit_of(source: str, limit: int | None) -> int | None:
    """Return how many documents of a source are embedded, given the user's own `limit` a source."""
    own = LABELLED.get(source, 0)
    return own if limit is None else limit if own is None else min(limit, own)


def label_plainly(documents: Sequence[Document], common: frozenset[str]) -> LevelTable:
    """Set content words, and the measured level of stories and retellings; return asked x measured counts."""
    table: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for document in documents:
        document.content = content_words(document.text, common)
        if document.kind in ("story", "simpler", "harder"):
            document.level = measured_level(document.text, document.words).value
            if document.level_asked:
                table[document.level_asked][document.level] += 1
    return {asked: dict(sorted(table[asked].items())) for asked in sorted(table)}


def learn_genres(
    documents: Sequence[Document], labeller: Labeller, limit: int | None, watch: Watch
) -> Genres | None:
    """Learn genres from labelled stories trained on, measure on those held out; None without both."""
    stories = [d for d in documents if d.kind == "story" and d.genre]
    picked = [stories[index] for index in chosen([d.text for d in stories], limit_of(HEART, limit))]
    vectors = labeller.vectors([d.text for d in picked], lambda done: watch("genres", done, len(picked)))
    train = [row for row, d in enumerate(picked) if not d.held_out]
    held = [row for row, d in enumerate(picked) if d.held_out]
    genres = [Genre(d.genre) for d in picked if d.genre]
    kinds = {genres[row] for row in train}
    if len(picked) < LEAST_STORIES or len(kinds) < 2 or not held:
        return None
    classifier = GenreClassifier()
    classifier.fit(vectors[train], [genres[row] for row in train])
    return Genres(classifier, figures(classifier, vectors[held], [genres[row] for row in held]))


def label_by_meaning(
    source: str,
    documents: Sequence[Document],
    labeller: Labeller,
    genres: Genres | None,
    limit: int | None,
    watch: Watch,
) -> None:
    """Set the storyline of a source's stories, and where no genre was given one that is sure enough."""
    stories = [d for d in documents if d.kind == "story"] if source in LABELLED else []
    picked = [stories[index] for index in chosen([d.text for d in stories], limit_of(source, limit))]
    texts = [d.text for d in picked]
    lines = labeller.storylines(texts, lambda done: watch(f"{source}: storylines", done, len(texts)))
    for document, line in zip(picked, lines, strict=True):
        document.storyline = line
    if genres is None or source == HEART:
        return
    vectors = labeller.vectors(texts, lambda done: watch(f"{source}: genres", done, len(texts)))
    for document, (genre, sure) in zip(picked, genres.classifier.predict(vectors), strict=True):
        if sure >= genres.figures.threshold:
            document.genre, document.genre_confidence = genre.value, round(sure, 3)
