"""Cuts the text behind a command into words, one quoted line and key=value options.

Knows quotes, commas and equals signs of any script; knows nothing of genres, levels or limits.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field

import regex

from bot.messages import Problem, echo, problem

COMMAS = ",，、､﹐،؛;；\n"
# Each opening quote with what may close it: phones and people mix them.
_QUOTES = {
    '"': '"”“',
    "“": '”"“',
    "”": '”"',
    "„": '“”"',
    "«": "»",
    "»": "«",
    "「": "」",
    "『": "』",
    "《": "》",
}
_VALUE_QUOTES = _QUOTES | {"'": "'", "‘": "’'", "’": "’'"}
_KEY = regex.compile(r"([\p{L}_][\p{L}\p{M}\p{N}_-]*)[^\S\n]*[=＝][^\S\n]*")
_SPACE = regex.compile(r"[^\S\n]+")
_OPENERS = "".join(_QUOTES)
_BARE = regex.compile(rf"[^\s{regex.escape(COMMAS + _OPENERS)}]+")
_BARE_VALUE = regex.compile(r"[^\s，、､،؛;；,]+(?:,\d+)?")

# Marks that nobody sees, added by keyboards and copying: text direction, soft hyphens, zero-width spaces.
_UNSEEN = dict.fromkeys(
    map(
        ord,
        "\u00ad\u200b\u200e\u200f\u061c\u2060\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff",
    )
)


@dataclass
class Scan:
    """What stands in a text: `items` are the words between commas, `leads` says that no comma comes first."""

    items: list[list[str]] = field(default_factory=list)
    quoted: list[str] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)
    commas: bool = False
    leads: bool = True


def clean(text: str) -> str:
    """Return text without control characters and direction marks, composed (NFC); line breaks stay.

    Lone surrogates, which no encoding can carry, become U+FFFD.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\t", " ")
    text = text.translate(_UNSEEN).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    kept = (c for c in text if c == "\n" or unicodedata.category(c) != "Cc")
    return unicodedata.normalize("NFC", "".join(kept)).strip()


def scan(text: str) -> Scan | Problem:
    """Cut a cleaned text. A quote that is never closed and an option without a value are Problems."""
    found = Scan()
    current: list[str] = []
    at = 0

    def finish() -> None:
        if current:
            found.items.append(list(current))
            current.clear()

    while at < len(text):
        if space := _SPACE.match(text, at):
            at = space.end()
        elif text[at] in COMMAS:
            found.commas = True
            found.leads = found.leads and bool(found.items or current or found.quoted or found.options)
            finish()
            at += 1
        elif text[at] in _QUOTES:
            finish()
            closed = _quoted(text, at, _QUOTES)
            if closed is None:
                return problem("quote-open", text=echo(text[at:]))
            found.quoted.append(closed[0].strip())
            at = closed[1]
        elif key := _KEY.match(text, at):
            finish()
            value = _value(text, key.end(), key[1])
            if isinstance(value, Problem):
                return value
            found.options[key[1]] = value[0]
            at = value[1]
        else:
            bare = _BARE.match(text, at)
            end = bare.end() if bare else at + 1
            current.append(text[at:end])
            at = end
    finish()
    return found


def _quoted(text: str, at: int, quotes: dict[str, str]) -> tuple[str, int] | None:
    """Return what stands between the quote at `at` and its end, and where to go on."""
    closers = quotes[text[at]]
    end = next((i for i in range(at + 1, len(text)) if text[i] in closers), None)
    return None if end is None else (text[at + 1 : end], end + 1)


def _value(text: str, at: int, key: str) -> tuple[str, int] | Problem:
    if at < len(text) and text[at] in _VALUE_QUOTES:
        closed = _quoted(text, at, _VALUE_QUOTES)
        if closed is None:
            return problem("quote-open", text=echo(text[at:]))
        return closed[0].strip(), closed[1]
    bare = _BARE_VALUE.match(text, at)
    if bare is None:
        return problem("option-empty", option=echo(key))
    return bare[0], bare.end()
