"""Single values as people type them: level A2, length short, temperature 0,7, seed 7.

Each reader returns the value or a Problem that says what is allowed. Ranges come from engine.schema.
"""

from __future__ import annotations

import re

from rapidfuzz import process

from bot import genres
from bot.messages import Problem, echo, problem
from engine.schema import (
    MAX_OPENING_CHARS,
    MAX_SEED,
    MAX_TITLE_CHARS,
    PRESETS,
    Decoding,
    Genre,
    Length,
    Level,
    decoding_ranges,
)

DECODING = tuple(Decoding.model_fields)
WHOLE = frozenset(name for name, info in Decoding.model_fields.items() if "int" in str(info.annotation))
MODEL_CHARS = 100
_OFF = frozenset(("", "default", "off", "none", "auto", "-"))
# Cyrillic letters that look like those of a level.
_LOOKALIKE = str.maketrans("АВСавс", "ABCABC")

_OPTION_NAMES = {"temp": "temperature", "topp": "top_p", "topk": "top_k", "minp": "min_p", "len": "length"}


def option_name(typed: str) -> str:
    """Return a setting's or option's name as the schema spells it (Top-P, topp → top_p)."""
    name = typed.casefold().replace("-", "_").strip()
    return _OPTION_NAMES.get(name, name)


def closest(name: str, known: tuple[str, ...]) -> str | None:
    """Return the known name most like `name`, None when none is near."""
    best = process.extractOne(name, known, score_cutoff=60)
    return best[0] if best else None


def is_off(text: str) -> bool:
    """Say whether a value means: back to the default."""
    return text.casefold().strip() in _OFF


def level(text: str) -> Level | Problem:
    """Read a CEFR band."""
    try:
        return Level(text.translate(_LOOKALIKE).upper().strip())
    except ValueError:
        return problem("bad-level", value=echo(text), allowed=", ".join(Level))


def length(text: str) -> Length | Problem:
    """Read a story length."""
    try:
        return Length(text.casefold().strip())
    except ValueError:
        return problem("bad-length", value=echo(text), allowed=", ".join(Length))


def genre(text: str) -> Genre | Problem:
    """Read a genre's name; the Problem suggests the nearest."""
    found = genres.named(text)
    return found or unknown_genre(text, genres.nearest(text))


def unknown_genre(text: str, nearest: Genre | None) -> Problem:
    """Return the Problem that names the nearest genre, or all of them when none is near."""
    if nearest is None:
        return problem("unknown-genre", genre=echo(text), genres=genres.listed())
    return problem("unknown-genre-near", genre=echo(text), nearest=nearest.value, genres=genres.listed())


def preset(text: str) -> str | Problem:
    """Read the name of a preset."""
    name = text.casefold().strip()
    return name if name in PRESETS else problem("bad-preset", value=echo(text), allowed=", ".join(PRESETS))


def model(text: str) -> str | Problem:
    """Read a model's name; only the engine knows whether there is one of that name."""
    name = text.strip()
    if not name or len(name) > MODEL_CHARS or not re.fullmatch(r"[\w.:/@+-]+", name):
        return problem("bad-model-name", value=echo(text))
    return name


def seed(text: str) -> int | Problem:
    """Read a seed."""
    digits = text.strip()
    if re.fullmatch(r"[0-9]{1,10}", digits) and int(digits) <= MAX_SEED:
        return int(digits)
    return problem("bad-seed", value=echo(text), highest=str(MAX_SEED))


def title(text: str) -> str | Problem:
    """Read a title: one line of limited length."""
    line = " ".join(text.split())
    if not line:
        return problem("option-empty", option="title")
    if len(line) > MAX_TITLE_CHARS:
        return problem("title-long", count=len(line), limit=MAX_TITLE_CHARS)
    return line


def opening(text: str) -> str | Problem:
    """Read an opening line of limited length."""
    line = " ".join(text.split())
    if not line:
        return problem("opening-empty")
    if len(line) > MAX_OPENING_CHARS:
        return problem("opening-long", count=len(line), limit=MAX_OPENING_CHARS)
    return line


def decoding(name: str, text: str) -> float | int | Problem:
    """Read one decoding setting; `name` is one of DECODING. The Problem says the allowed range."""
    typed = text.strip().replace(",", ".")
    if not re.fullmatch(r"[+-]?(\d{1,9}(\.\d{0,9})?|\.\d{1,9})", typed, re.ASCII):
        return _outside("bad-number", name, text)
    number = float(typed)
    if name in WHOLE and not number.is_integer():
        return _outside("bad-whole", name, text)
    lowest, highest = decoding_ranges()[name]
    if (lowest is not None and number < lowest) or (highest is not None and number > highest):
        return _outside("out-of-range", name, text)
    if number == lowest and name in _ABOVE:
        return _outside("out-of-range-above", name, text)
    return int(number) if name in WHOLE else number


def number_text(value: float) -> str:
    """Return a number as people write it: 0.7, 40, never 40.0."""
    return f"{value:g}"


def range_text(name: str) -> tuple[str, str]:
    """Return the (lowest, highest) allowed value of a decoding setting as text."""
    lowest, highest = decoding_ranges()[name]
    return number_text(lowest or 0), number_text(highest or 0)


def _outside(id_: str, name: str, text: str) -> Problem:
    lowest, highest = range_text(name)
    return problem(id_, name=name, value=echo(text), lowest=lowest, highest=highest)


def _excludes_lowest(name: str) -> bool:
    return any(getattr(item, "gt", None) is not None for item in Decoding.model_fields[name].metadata)


_ABOVE = frozenset(name for name in DECODING if _excludes_lowest(name))
