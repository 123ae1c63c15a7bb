"""Cuts a text into messages that a platform accepts: at a paragraph, a sentence, a space, not in a character.

What a reader sees as one character (a grapheme: emoji families, letters with marks) stays whole, unless it
alone is longer than a message. Nothing is added, lost or moved: the chunks joined are the text. Highlights
move along. Knows limits, not platforms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

import regex

from bot.replies import Mark


class Limit(IntEnum):
    """Longest text of one message."""

    TELEGRAM = 4096
    """UTF-16 units; https://core.telegram.org/bots/api#sendmessage"""
    DISCORD = 2000
    """Characters; https://discord.com/developers/docs/resources/message#create-message"""


Measure = Callable[[str], int]


def code_points(text: str) -> int:
    """Return the length in Unicode characters, as Discord counts."""
    return len(text)


def utf16_units(text: str) -> int:
    """Return the length in UTF-16 units, as Telegram counts: an emoji is two."""
    return len(text) + sum(character > "\uffff" for character in text)


@dataclass(frozen=True, slots=True)
class Chunk:
    """One message; the marks' offsets are characters of its own text."""

    text: str
    marks: tuple[Mark, ...] = ()

    def utf16_spans(self) -> list[tuple[int, int]]:
        """Return (offset, length) of each mark in UTF-16 units, as Telegram's entities want them."""
        return [
            (utf16_units(self.text[: mark.start]), utf16_units(self.text[mark.start : mark.end]))
            for mark in self.marks
        ]


# Where a cut hurts least first; each matches up to and including the break.
_BREAKS = (
    regex.compile(r"\n\s*\n"),
    regex.compile(r"(?:[.!?…]+[\"'”’»)\]]*\s+|[。！？]+[”’」』）]*\s*)"),
    regex.compile(r"\n"),
    regex.compile(r"\s+"),
)
_GRAPHEME = regex.compile(r"\X")
_WORTH = 0.5
"""A better kind of break is taken only if it leaves the chunk at least so full."""


def chunks(text: str, marks: Sequence[Mark], limit: int, measure: Measure) -> list[Chunk]:
    """Return `text` in pieces of 1 to `limit` units of `measure`; [] for an empty text.

    `limit` must be at least 2, so that any single Unicode character fits.
    """
    if limit < 2:
        raise ValueError("a message must have room for one character")
    bounds = [0]
    while bounds[-1] < len(text):
        bounds.append(_cut(text, bounds[-1], limit, measure))
    return [Chunk(text[start:end], _within(marks, start, end)) for start, end in pairwise(bounds)]


def _cut(text: str, start: int, limit: int, measure: Measure) -> int:
    """Return where the chunk that begins at `start` ends."""
    reach = _reach(text, start, limit, measure)
    if reach == len(text):
        return reach
    window = text[start:reach]
    for pattern in _BREAKS:
        ends = [start + found.end() for found in pattern.finditer(window)]
        good = [end for end in ends if end - start >= _WORTH * len(window) and _is_boundary(text, end)]
        if good and text[start : good[-1]].strip():
            return good[-1]
    return _whole_graphemes(text, start, reach)


def _reach(text: str, start: int, limit: int, measure: Measure) -> int:
    """Return the farthest end at which text[start:end] fits."""
    end = min(len(text), start + limit)
    while (over := measure(text[start:end]) - limit) > 0:
        # No character counts more than two units.
        end -= max(1, over // 2)
    return end


def _is_boundary(text: str, at: int) -> bool:
    """Say whether the character at `at` begins a grapheme, given that a space or a stop is before it."""
    return at == len(text) or len(_GRAPHEME.findall(text[at - 1 : at + 1])) == 2


def _whole_graphemes(text: str, start: int, reach: int) -> int:
    """Return the last end of a whole grapheme up to `reach`, or `reach` where one fills the whole chunk."""
    end = start
    for grapheme in _GRAPHEME.finditer(text, start):
        if grapheme.end() > reach:
            break
        end = grapheme.end()
    return end if end > start else reach


def _within(marks: Sequence[Mark], start: int, end: int) -> tuple[Mark, ...]:
    """Return the parts of the marks in [start, end), moved there."""
    kept = []
    for mark in marks:
        first, last = max(mark.start, start), min(mark.end, end)
        if first < last:
            kept.append(Mark(first - start, last - start, mark.role))
    return tuple(kept)
