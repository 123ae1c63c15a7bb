"""The frozen requests that every model is measured on, and how they were drawn.

The suite is a file that never changes, so that figures of different days compare. `draw` made it, once, from
the CEFR-J word list. Knows nothing of models. Command: `python -m training.scorecard.suite --help`.
"""

from __future__ import annotations

import csv
import hashlib
import random
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from engine.lexicon import is_name
from engine.schema import Genre, Length, Level, StoryRequest

SUITE = Path(__file__).parent / "suite.jsonl"
SUITE_SHA256 = "95674c5b280fb7a963508a852ab84941febac53fa61b7c19a7f69fb1b43add89"
REQUESTS = 200
SEED = 20261121

LEVELS = {Level.A1: 5, Level.A2: 7, Level.B1: 6, Level.B2: 2}
LENGTHS = {Length.SHORT: 5, Length.MEDIUM: 4, Length.LONG: 1}
COUNTS = {1: 3, 2: 6, 3: 6, 4: 3, 5: 2}
PARTS = {"noun": 11, "verb": 5, "adjective": 3, "adverb": 1}
NAME_SHARE, TIME_SHARE, PHRASE_SHARE, FRAME_SHARE = 0.4, 0.08, 0.06, 0.1
TIME_WORDS = ("yesterday", "tomorrow")
NAMES = (
    "Andrei", "Beatriz", "Camille", "Dmitri", "Emil", "Esther", "Farid", "Giulia", "Hiroshi", "Irina",
    "Joana", "Kamal", "Larisa", "Matteo", "Nadia", "Oskar", "Pooja", "Quentin", "Rosalind", "Samuel",
    "Tatiana", "Ursula", "Valentina", "Walter", "Xiao", "Yusuf", "Zainab", "Martin", "Elisa", "Bernard",
)  # fmt: skip
PHRASES = (
    "get up", "look for", "wait for", "turn on", "put on", "come back", "take off", "run out of",
    "grow up", "pick up", "find out", "look forward to", "throw away", "bus stop", "post office",
)  # fmt: skip
TITLES = ("The {}", "A {} for Everyone", "The Wrong {}", "The Last {}", "Nobody's {}")
OPENINGS = (
    "When {} opened the door, nobody was there.",
    "It was the coldest day of the year, and {} had no coat.",
    "{} had only ten minutes left.",
    '"Don\'t look back," said {}.',
    "On the first day of the holidays, {} got a strange message.",
)
Choice = TypeVar("Choice")
_PLAIN_WORD = re.compile(r"[a-z]{3,12}")


def read_suite(path: Path = SUITE) -> list[StoryRequest]:
    """Return the requests of the suite, each with a level, without a seed of its own."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [StoryRequest.model_validate_json(line) for line in lines]


def suite_hash(path: Path = SUITE) -> str:
    """Return the SHA-256 of the suite file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@lru_cache(maxsize=1)
def reserved_words() -> frozenset[frozenset[str]]:
    """Return the word sets of the suite, in lower case: no training request may have one of them."""
    return frozenset(word_set(request.words) for request in read_suite())


def word_set(words: Sequence[str]) -> frozenset[str]:
    """Return words as the suite compares them: without order or case."""
    return frozenset(word.lower() for word in words)


def draw(
    levels: dict[str, Level],
    parts: dict[str, str],
    taken: Collection[frozenset[str]],
    titles: Collection[str],
) -> list[StoryRequest]:
    """Return the requests, drawn from a word list: the level and the part of speech of each word.

    Deterministic. Word sets in `taken` and `titles` (lower case), which training has, are drawn anew.
    """
    chance = random.Random(SEED)
    used = set(taken)
    made = []
    for number in range(REQUESTS):
        level = _one_of(chance, LEVELS)
        pool: dict[str, list[str]] = {part: [] for part in PARTS}
        for word, band in levels.items():
            if band <= level:
                pool[parts[word]].append(word)
        words = _words(chance, pool)
        while word_set(words) in used:
            words = _words(chance, pool)
        used.add(word_set(words))
        genre = list(Genre)[number % len(Genre)]
        frame = chance.random()
        request = StoryRequest(genre=genre, level=level, length=_one_of(chance, LENGTHS), words=words)
        if frame < FRAME_SHARE:
            request.title = _title(chance, pool["noun"])
            while request.title.lower() in titles:
                request.title = _title(chance, pool["noun"])
        elif frame < 2 * FRAME_SHARE:
            name = next((word for word in words if is_name(word)), chance.choice(NAMES))
            request.opening = chance.choice(OPENINGS).format(name)
        made.append(request)
    return made


def _one_of(chance: random.Random, weights: Mapping[Choice, int]) -> Choice:
    return chance.choices(list(weights), list(weights.values()))[0]


def _title(chance: random.Random, nouns: Sequence[str]) -> str:
    return chance.choice(TITLES).format(chance.choice(nouns).title())


def _words(chance: random.Random, pool: dict[str, list[str]]) -> list[str]:
    words: dict[str, None] = {}
    count = _one_of(chance, COUNTS)
    if count > 1 and chance.random() < NAME_SHARE:
        words[chance.choice(NAMES)] = None
    if count > 1 and chance.random() < TIME_SHARE:
        words[chance.choice(TIME_WORDS)] = None
    elif chance.random() < PHRASE_SHARE:
        words[chance.choice(PHRASES)] = None
    while len(words) < count:
        words[chance.choice(pool[_one_of(chance, PARTS)])] = None
    found = list(words)
    chance.shuffle(found)
    return found


def _word_list(path: Path) -> Iterator[tuple[str, Level, str]]:
    from engine.content import ContentFilter

    suitable = ContentFilter()
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            word, band, part = row["headword"].split("/")[0], row["CEFR"], row["pos"]
            fits = part in PARTS and band in set(Level) and _PLAIN_WORD.fullmatch(word)
            if fits and suitable.check_words([word], True) is None:
                yield word, Level(band), part


def main() -> None:
    """Draw the suite anew: CEFR-J word list, folder of prepared documents, file to write."""
    import argparse

    from training.data.documents import read_documents

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("word_list", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    levels: dict[str, Level] = {}
    parts: dict[str, str] = {}
    for word, level, part in _word_list(options.word_list):
        levels.setdefault(word, level)
        parts.setdefault(word, part)
    documents = [d for path in sorted(options.data.glob("*.jsonl")) for d in read_documents(path)]
    taken = {word_set(document.words) for document in documents if document.words}
    titles = {document.title.lower() for document in documents if document.title}
    lines = [request.model_dump_json(exclude_defaults=True) for request in draw(levels, parts, taken, titles)]
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
