"""Names of genres as people type them, and which one a wrong name was meant for.

Knows nothing of the rest of a command. A wrong name is only called wrong where it can hardly be a word
of the learner's: see `misspelt`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from rapidfuzz import process
from rapidfuzz.distance import OSA, JaroWinkler

from engine.schema import Genre

SUGGESTED_FROM = 0.7
MEANT_FROM = 0.7

# Taken for the genre wherever they stand first.
_NAMES: dict[str, Genre] = {
    "superhero": Genre.SUPERHERO,
    "superheroes": Genre.SUPERHERO,
    "scifi": Genre.SCI_FI,
    "sciencefiction": Genre.SCI_FI,
    "sf": Genre.SCI_FI,
    "action": Genre.ACTION,
    "drama": Genre.DRAMA,
    "horror": Genre.HORROR,
    "thriller": Genre.THRILLER,
    "comedy": Genre.COMEDY,
    "fantasy": Genre.FANTASY,
    "mystery": Genre.MYSTERY,
    "everyday": Genre.EVERYDAY,
    "супергерой": Genre.SUPERHERO,
    "супергерои": Genre.SUPERHERO,
    "фантастика": Genre.SCI_FI,
    "боевик": Genre.ACTION,
    "драма": Genre.DRAMA,
    "ужасы": Genre.HORROR,
    "триллер": Genre.THRILLER,
    "комедия": Genre.COMEDY,
    "фэнтези": Genre.FANTASY,
    "детектив": Genre.MYSTERY,
    "повседневность": Genre.EVERYDAY,
    "超级英雄": Genre.SUPERHERO,
    "科幻": Genre.SCI_FI,
    "动作": Genre.ACTION,
    "剧情": Genre.DRAMA,
    "恐怖": Genre.HORROR,
    "惊悚": Genre.THRILLER,
    "喜剧": Genre.COMEDY,
    "奇幻": Genre.FANTASY,
    "悬疑": Genre.MYSTERY,
    "日常": Genre.EVERYDAY,
}
_TWO_WORDS = {"sci fi", "science fiction", "super hero", "super heroes"}

# Ordinary words too: the genre only when another word follows without a comma ("crime Tom, dinner").
_SOFT: dict[str, Genre] = {
    "crime": Genre.MYSTERY,
    "detective": Genre.MYSTERY,
    "spy": Genre.THRILLER,
    "suspense": Genre.THRILLER,
    "adventure": Genre.ACTION,
    "fairytale": Genre.FANTASY,
    "fairy tale": Genre.FANTASY,
    "humor": Genre.COMEDY,
    "humour": Genre.COMEDY,
    "funny": Genre.COMEDY,
    "scary": Genre.HORROR,
    "daily life": Genre.EVERYDAY,
    "slice of life": Genre.EVERYDAY,
}

# Genres that we do not have, with the nearest that we do.
_ABSENT: dict[str, Genre] = {
    "romance": Genre.DRAMA,
    "romantic": Genre.DRAMA,
    "historical": Genre.DRAMA,
    "biography": Genre.DRAMA,
    "tragedy": Genre.DRAMA,
    "musical": Genre.COMEDY,
    "romcom": Genre.COMEDY,
    "satire": Genre.COMEDY,
    "western": Genre.ACTION,
    "noir": Genre.MYSTERY,
    "whodunit": Genre.MYSTERY,
    "cyberpunk": Genre.SCI_FI,
    "steampunk": Genre.SCI_FI,
    "dystopia": Genre.SCI_FI,
    "dystopian": Genre.SCI_FI,
    "fable": Genre.FANTASY,
    "myth": Genre.FANTASY,
}

# English words one slip away from a genre's name.
_LOOKALIKES = frozenset(
    [
        "thrill",
        "thrills",
        "thrilled",
        "thrillers",
        "shrilled",
        "chiller",
        "driller",
        "tiller",
        "trilled",
        "thrall",
        "actions",
        "auction",
        "faction",
        "cation",
        "everyman",
        "everyway",
        "dram",
        "drams",
        "dramas",
        "mastery",
        "horrors",
        "comely",
        "comedo",
        "fantasia",
        "phantasy",
        "superego",
        "superheat",
    ]
)
_EXACT_LENGTH = 8


def listed() -> str:
    """Return all genres as one comma-separated line."""
    return ", ".join(genre.value for genre in Genre)


def named(text: str) -> Genre | None:
    """Return the genre of that name, however it is spelt (sci-fi, SciFi, SF); None when there is none."""
    name = _squeeze(text)
    soft = _SOFT.get(text.casefold()) or _SOFT.get(name)
    return _NAMES.get(name) or soft


def leading(tokens: list[str]) -> tuple[Genre, int] | None:
    """Return the genre that these words (up to a comma) begin with, and how many of them name it."""
    two = " ".join(tokens[:2]).casefold()
    if len(tokens) >= 2 and two in _TWO_WORDS:
        return _NAMES[_squeeze(two)], 2
    if tokens and (genre := _NAMES.get(_squeeze(tokens[0]))):
        return genre, 1
    for count in (3, 2, 1):
        name = " ".join(tokens[:count]).casefold()
        if len(tokens) > count and (soft := _SOFT.get(name)):
            return soft, count
    return None


def absent(token: str) -> Genre | None:
    """Return the nearest genre to a well-known one that we do not have, None for any other word."""
    return _ABSENT.get(token.casefold())


def misspelt(token: str) -> Genre | None:
    """Return the genre that a word was meant for; None when it may well be a word to use.

    Meant are: words with an underscore like a genre's name, and lower-case words one slip (two in names of
    eight letters and more) away from one that are no English words themselves. Capitalised words are names.
    """
    if "_" in token.strip("_"):
        return _closest(token, OSA.normalized_similarity, MEANT_FROM)
    if not re.fullmatch(r"[a-z]+(-[a-z]+)?", token) or len(token) < 4 or token in _LOOKALIKES:
        return None
    name = _squeeze(token)
    for known, genre in _NAMES.items():
        slips = 2 if len(known) >= _EXACT_LENGTH else 1
        if OSA.distance(name, known, score_cutoff=slips) <= slips:
            return genre
    return None


def nearest(text: str) -> Genre | None:
    """Return the genre whose name is most like `text`, None when none is."""
    name = _squeeze(text)
    if genre := _ABSENT.get(name) or _SOFT.get(name):
        return genre
    return _closest(text, JaroWinkler.normalized_similarity, SUGGESTED_FROM)


def _closest(text: str, scorer: Callable[..., float], cutoff: float) -> Genre | None:
    best = process.extractOne(_squeeze(text), list(_NAMES), scorer=scorer, score_cutoff=cutoff)
    return _NAMES[best[0]] if best else None


def _squeeze(text: str) -> str:
    return re.sub(r"[\s_\-.'’]+", "", text).casefold()
