"""Ways of writing a word so that a list misses it, undone: accents, wide and mathematical letters, letters of
another alphabet that look alike, digits for letters, stars for letters, letters set apart or drawn out.

Works on characters only; what is unsuitable is not known here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

# Look-alikes of Cyrillic, Greek and Armenian; of Latin.
_TO_LATIN = str.maketrans("авекмнорстухіјѕԁԛԝιοαερτνκսօոհց", "abekmhopctyxijsdqwioaeptvkuonhg")
_TO_CYRILLIC = str.maketrans("abekmhopctyxu", "авекмнорстухи")
_DIGITS = str.maketrans("01345789@$!+€", "oieastbgasite")
_CYRILLIC_DIGITS = str.maketrans("034689", "озчбвд")
_CYRILLIC = re.compile(r"[а-яёіјѕԁ]")
_GREEK_OR_ARMENIAN = re.compile(r"[α-ωա-ֆ]")
_LATIN = re.compile(r"[a-z]")
_DRAWN_OUT = re.compile(r"(.)\1{2,}")
_CHUNK = re.compile(r"[^\W_][\w@$!*#%&+€-]*[\w@$*€]|[@$][\w@$!+]+")
_DISGUISE = re.compile(r"[0-9@$!+€]")
_MASK = re.compile(r"[*#%&@]+|-{2,}|_{2,}")
_ENDINGS = ("", "s", "ed", "er", "ers", "ing", "in", "y", "ty", "head", "face")
_SPELLED = re.compile(r"(?<!\w)[^\W\d_](?:(?:[ \t]{1,2}|[.*_-])[^\W\d_]){2,}(?!\w)")


@dataclass(frozen=True, slots=True)
class FoldedText:
    """Folded text; places[i] is the index in the original of character i (None: the same)."""

    text: str
    places: tuple[int, ...] | None

    def original(self, start: int, end: int) -> tuple[int, int]:
        """Return where folded [start, end) stands in the original."""
        if self.places is None:
            return start, end
        return self.places[start], self.places[end - 1] + 1


@lru_cache(maxsize=4096)
def _plain(char: str) -> str:
    if char in "йЙ":
        return "й"
    base = "".join(part for part in unicodedata.normalize("NFKD", char) if not unicodedata.combining(part))
    return "" if unicodedata.category(char) == "Cf" else base.casefold().replace("’", "'")


def fold(text: str) -> FoldedText:
    """Return `text` in small plain letters, without accents and invisible characters."""
    if text.isascii():
        return FoldedText(text.lower(), None)
    pieces = [_plain(char) for char in text]
    places = [place for place, piece in enumerate(pieces) for _ in piece]
    return FoldedText("".join(pieces), tuple(places))


def readings(word: str) -> Iterator[str]:
    """Yield a folded word as it may be meant: as it is, in one alphabet, not drawn out."""
    yield word
    latin, other = _LATIN.search(word), _CYRILLIC.search(word) or _GREEK_OR_ARMENIAN.search(word)
    if latin and other:
        yield word.translate(_TO_LATIN)
        yield word.translate(_TO_CYRILLIC)
    if _DRAWN_OUT.search(word):
        yield _DRAWN_OUT.sub(r"\1", word)
        yield _DRAWN_OUT.sub(r"\1\1", word)


def coded_words(text: str) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """Yield (start, end, what it may stand for) of words of folded `text` with digits or signs as letters."""
    for found in _CHUNK.finditer(text):
        chunk = found.group()
        letters = sum(char.isalpha() for char in chunk)
        signs = sum(char in "@$!€" for char in chunk)
        if _DISGUISE.search(chunk) and letters and letters + signs >= 2:
            if _CYRILLIC.search(chunk):
                yield *found.span(), (chunk.translate(_CYRILLIC_DIGITS),)
            else:
                yield *found.span(), (chunk.translate(_DIGITS), chunk.replace("1", "l").translate(_DIGITS))


def masked_words(text: str) -> Iterator[tuple[int, int, re.Pattern[str]]]:
    """Yield (start, end, pattern) of words of folded `text` with letters struck out: f*ck, s--t."""
    for found in _CHUNK.finditer(text):
        chunk = found.group().rstrip("-")
        if _MASK.search(chunk) and sum(char.isalpha() for char in chunk) > 1:
            yield *found.span(), re.compile("|".join(_unmasked(chunk)))


def _unmasked(chunk: str) -> Iterator[str]:
    for ending in _ENDINGS:
        if chunk.endswith(ending):
            parts = re.split(rf"({_MASK.pattern})", chunk.removesuffix(ending) if ending else chunk)
            yield "".join(
                rf"\w{{{len(part)}}}" if _MASK.fullmatch(part) else re.escape(part) for part in parts
            )


def spelled_words(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield (start, end, word) of letters of folded `text` that are set apart: f u c k, s.h.i.t.

    The first letter may be a word of its own ("a s h i t"), so the rest is given too.
    """
    for found in _SPELLED.finditer(text):
        letters = [place for place in range(*found.span()) if text[place].isalpha()]
        word = "".join(text[place] for place in letters)
        yield *found.span(), word
        yield letters[1], found.end(), word[1:]
