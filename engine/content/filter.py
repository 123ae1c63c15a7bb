"""The filter itself: words, phrases and disguised words of a text, looked up in the lists."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from engine.content.disguises import (
    FoldedText,
    coded_words,
    fold,
    masked_words,
    readings,
    spelled_words,
)
from engine.content.lists import DISGUISED_KINDS, Lists, Slots, Term, load

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
# Between the words of a phrase: no end of a sentence.
_GAP = re.compile(r"[\s,'\"“”‘’*_-]*")
_LONGEST_CLITIC = 2
_ANY_WORDS = 3

Hit = tuple[int, int, Term]


@dataclass(frozen=True, slots=True)
class Finding:
    """An unsuitable place: `form` is text[start:end], `term` the list entry that it falls under."""

    term: Term
    form: str
    start: int
    end: int


class ContentFilter:
    """Finds unsuitable words and texts; safe to share between threads. The lists load at the first check."""

    def check_words(self, words: Sequence[str], strict: bool) -> str | None:
        """Return the first of `words` that is unsuitable, None when all may be asked for."""
        return next((word for word in words if self.find(word, strict)), None)

    def check_text(self, text: str, strict: bool) -> str | None:
        """Return the first unsuitable place of `text` as it stands there, None when the text is suitable."""
        found = self.find(text, strict)
        return found.form if found else None

    def find(self, text: str, strict: bool) -> Finding | None:
        """Return the first unsuitable place of `text`; `strict` is for groups and classrooms."""
        lists = load()
        folded = fold(text)
        words = [(found.start(), found.end(), found.group()) for found in _WORD.finditer(folded.text)]
        hits = [
            hit
            for source in (
                _plain_hits(lists, text, folded, words),
                _phrase_hits(lists, folded.text, words),
                _disguised_hits(lists, folded.text),
                _piece_hits(lists, folded.text),
            )
            for hit in source
            if strict or not hit[2].strict
        ]
        if not hits:
            return None
        excused = list(_excused(lists, folded.text, words))
        hits = [hit for hit in hits if not any(low <= hit[0] and hit[1] <= high for low, high in excused)]
        if not hits:
            return None
        start, end, term = min(hits, key=lambda hit: hit[:2])
        start, end = folded.original(start, end)
        return Finding(term, text[start:end], start, end)


@lru_cache(maxsize=16384)
def _word(word: str) -> Term | None:
    """Return the entry of a folded word in any of its readings, the milder of two modes first."""
    lists = load()
    parts = [part for part in word.split("'") if len(part) > _LONGEST_CLITIC] if "'" in word else []
    found = [term for part in (word, *parts) for reading in readings(part) if (term := lists.word(reading))]
    return min(found, key=lambda term: term.strict, default=None)


def _plain_hits(
    lists: Lists, text: str, folded: FoldedText, words: list[tuple[int, int, str]]
) -> Iterator[Hit]:
    for start, end, word in words:
        if term := _word(word):
            yield start, end, term
        elif hidden := next((reading for reading in readings(word) if reading in lists.lower_only), None):
            low, high = folded.original(start, end)
            if not text[low:high][:1].isupper():
                yield start, end, lists.lower_only[hidden]


def _phrase_end(slots: Slots, text: str, words: list[tuple[int, int, str]], at: int) -> int | None:
    """Return where the phrase whose first word is word number `at` ends, None when it is not there."""
    if len(slots) == 1:
        return words[at][1]
    rest = slots[1:]
    reach = 1
    if not rest[0]:
        rest, reach = rest[1:], _ANY_WORDS + 1
    for place in range(at + 1, min(at + 1 + reach, len(words))):
        if not _GAP.fullmatch(text, words[place - 1][1], words[place][0]):
            return None
        if words[place][2] in rest[0] and (end := _phrase_end(rest, text, words, place)):
            return end
    return None


def _phrase_hits(lists: Lists, text: str, words: list[tuple[int, int, str]]) -> Iterator[Hit]:
    for at, (start, _, word) in enumerate(words):
        for slots, term in lists.phrases.get(word, ()):
            if end := _phrase_end(slots, text, words, at):
                yield start, end, term


def _disguised_hits(lists: Lists, text: str) -> Iterator[Hit]:
    for start, end, meanings in coded_words(text):
        for meaning in meanings:
            term = _word(meaning)
            if term and term.category in DISGUISED_KINDS:
                yield start, end, term
    for start, end, pattern in masked_words(text):
        if term := next((term for base, term in lists.bases.items() if pattern.fullmatch(base)), None):
            yield start, end, term
    for start, end, word in spelled_words(text):
        if term := _word(word):
            yield start, end, term


def _piece_hits(lists: Lists, text: str) -> Iterator[Hit]:
    if text.isascii() or not lists.pieces:
        return
    for found in lists.piece_pattern().finditer(text):
        yield found.start(), found.end(), lists.pieces["".join(filter(str.isalnum, found.group()))]


def _excused(lists: Lists, text: str, words: list[tuple[int, int, str]]) -> Iterator[tuple[int, int]]:
    for at, (start, _, word) in enumerate(words):
        for slots in lists.allowed_phrases.get(word, ()):
            if end := _phrase_end(slots, text, words, at):
                yield start, end
    for piece in lists.allowed_pieces:
        for found in re.finditer(re.escape(piece), text):
            yield found.span()
