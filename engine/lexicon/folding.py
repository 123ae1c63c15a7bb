"""A text made comparable (NFC, straight apostrophes and hyphens), with the way back to its own characters.

Every folded character knows the grapheme of the original that it came from, so that a hit in the folded
text is given back as whole graphemes of the original, never half of an accent, flag or family emoji.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache

import regex

# Letters, digits and marks that stand alone: one character is one grapheme and its own NFC form.
_SIMPLE = (
    r"[\n\t\x20-\x7e\u00a0-\u00ac\u00ae-\u02ff\u0400-\u0482\u048a-\u052f\u2010-\u2027\u2030-\u205e"
    r"\u20a0-\u20bf\u3001-\u3029\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fff\uff01-\uff60]"
)
_ALL_SIMPLE = regex.compile(f"{_SIMPLE}*")
# A run of simple characters (but the last, when an accent may follow), or one grapheme.
_PIECE = regex.compile(rf"{_SIMPLE}+(?={_SIMPLE}|\Z)|\X")
_ALIKE = str.maketrans(
    {
        **dict.fromkeys("’‘ʼ＇′", "'"),
        **dict.fromkeys("‐‑−", "-"),
        **dict.fromkeys("\u00a0\u2007\u202f\u3000", " "),
    }
)
_INVISIBLE = str.maketrans(dict.fromkeys("\u00ad\u200b\u200e\u200f\u2060\ufeff", ""))


@dataclass(frozen=True, slots=True)
class Folded:
    """`text` to search in; starts[i] and ends[i] bound the original grapheme of text[i] (None: identity)."""

    text: str
    starts: tuple[int, ...] | None
    ends: tuple[int, ...] | None

    def original(self, start: int, end: int) -> tuple[int, int] | None:
        """Return the original's [start, end) of folded [start, end), None when that splits a grapheme."""
        if self.starts is None or self.ends is None:
            return start, end
        splits_first = start > 0 and self.starts[start - 1] == self.starts[start]
        splits_last = end < len(self.text) and self.ends[end] == self.ends[end - 1]
        if splits_first or splits_last:
            return None
        return self.starts[start], self.ends[end - 1]


def fold_word(word: str) -> str:
    """Return a word folded the way texts are."""
    return unicodedata.normalize("NFC", word).translate(_ALIKE).translate(_INVISIBLE)


@lru_cache(maxsize=256)
def fold(text: str) -> Folded:
    """Return `text` folded, with the map back."""
    if _ALL_SIMPLE.fullmatch(text):
        return Folded(text.translate(_ALIKE), None, None)
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for found in _PIECE.finditer(text):
        start, end = found.span()
        if _ALL_SIMPLE.fullmatch(text, start, end):
            piece = found.group().translate(_ALIKE)
            starts += range(start, end)
            ends += range(start + 1, end + 1)
        else:
            piece = fold_word(found.group())
            starts += [start] * len(piece)
            ends += [end] * len(piece)
        pieces.append(piece)
    return Folded("".join(pieces), tuple(starts), tuple(ends))
