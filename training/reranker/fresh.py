"""Requests that nobody asked before: random levelled words, names, genres, levels and lengths.

Words are lemmas of our own stories that the lexicon (CEFR-J) puts into a band, so that they can be told.
What is measured on elsewhere is never asked: the scorecard's frozen suite, the requests of the samples.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from engine.bench.samples import requests as sample_requests
from engine.lexicon import is_name
from engine.lexicon import level as level_of
from engine.schema import Genre, Length, Level, StoryRequest
from training.data.documents import Document

SUITE = Path(__file__).parent.parent / "scorecard" / "suite.jsonl"
MIN_STORIES = 4
# How often a request has so many words; the last is at most a name in every second.
WORD_COUNTS = {0: 0.04, 1: 0.26, 2: 0.34, 3: 0.26, 4: 0.10}
NAME_SHARE = 0.45
NONE_SHARE = 0.08
LENGTHS = {Length.SHORT: 0.5, Length.MEDIUM: 0.45, Length.LONG: 0.05}

Vocabulary = Mapping[Level, list[str]]


def vocabulary_of(documents: Iterable[Document]) -> tuple[Vocabulary, list[str]]:
    """Return the words that may be asked for at each level, easier ones included, and first names."""
    seen: Counter[str] = Counter()
    for document in documents:
        seen.update(set(document.content))
    often = sorted(word for word, count in seen.items() if count >= MIN_STORIES)
    names = [word for word in often if is_name(word) and word.isalpha()]
    bands = {word: level_of(word) for word in often if word.islower() and len(word) > 2}
    levels = list(Level)
    words = {
        level: [word for word, band in bands.items() if band in {own.value for own in levels[: place + 1]}]
        for place, level in enumerate(levels)
    }
    return words, names


def fresh_requests(count: int, seed: int, vocabulary: tuple[Vocabulary, list[str]]) -> list[StoryRequest]:
    """Return `count` requests with seeds of their own; the same for the same arguments."""
    words_of, names = vocabulary
    rng = random.Random(seed)
    taken = forbidden()
    made: list[StoryRequest] = []
    while len(made) < count:
        level = None if rng.random() < NONE_SHARE else rng.choice(list(Level))
        number = rng.choices(list(WORD_COUNTS), list(WORD_COUNTS.values()))[0]
        words = rng.sample(words_of[level or Level.B1], number)
        if words and names and rng.random() < NAME_SHARE:
            words[rng.randrange(number)] = rng.choice(names)
        if words and frozenset(word.lower() for word in words) in taken:
            continue
        made.append(
            StoryRequest(
                genre=None if rng.random() < NONE_SHARE else rng.choice(list(Genre)),
                level=level,
                length=rng.choices(list(LENGTHS), list(LENGTHS.values()))[0],
                words=words,
                seed=rng.randrange(2**31),
            )
        )
    return made


def forbidden(suite: Path = SUITE) -> set[frozenset[str]]:
    """Return the word sets, in lower case, that must not be asked for: those of the suite and the samples."""
    found = [request.words for request in sample_requests()]
    if suite.exists():
        for line in suite.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            found.append(row.get("request", row).get("words") or [])
    return {frozenset(word.lower() for word in words) for words in found}
