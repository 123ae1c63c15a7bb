"""CEFR levels of words and texts.

A word's level is the easiest of its readings: over the word and every headword that it may be a form of,
and over their parts of speech, because the text does not say which is meant. Our own table
(data/levels.txt) wins over cefrpy, whose levels are CEFR-J's for some 7,000 headwords and guessed from
book frequency for the rest: B2, C1 and C2 blur. Names have no level.

A text's band is the smallest whose bar it passes (BARS): enough of its running words at or below the band,
and sentences short enough. The bars are set where our own graded stories part best, so they differ from
band to band (95 % of A1 words would call most stories written for A1 readers A2). Grammar and sense are
not seen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from engine.lexicon.inflection import lemma, plain
from engine.lexicon.names import is_name
from engine.lexicon.tables import BANDS, cefr_parts, headwords, name_lists, own_levels
from engine.schema import HardWord, Level, LevelReport

HARD_WORDS = 5


@dataclass(frozen=True, slots=True)
class Bar:
    """What a text of a band keeps to: share of known running words in the band, mean words a sentence."""

    share: float
    sentence: float


BARS: dict[Level, Bar] = {
    Level.A1: Bar(share=0.85, sentence=11.0),
    Level.A2: Bar(share=0.95, sentence=16.5),
    Level.B1: Bar(share=0.97, sentence=22.0),
}
_SENTENCE_END = re.compile(r"[.!?…。！？]+[\"'”’»)\]]*(?:\s|$)")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_CLITIC = re.compile(r"'(?:s|re|ve|ll|d|m)$")
_PLACEHOLDERS = frozenset({"sb", "sth"})
_NEGATED = {"can't": "can", "won't": "will", "shan't": "shall", "ain't": "be"}


def entry_level(word: str) -> float | None:
    """Return the level of a lower-case word's own entry, 1.0 = A1 … 6.0 = C2, None without one."""
    own = own_levels().get(word)
    if own is not None:
        return float(own)
    return min(cefr_parts(word).values(), default=None)


@lru_cache(maxsize=16384)
def _reading(lower: str) -> tuple[int, str] | None:
    """Return (level 1..6, headword) of the easiest reading of a lower-case word, None when unknown."""
    base = lemma(lower)
    found = [
        (value, word != base, word)
        for word in (lower, base, *headwords(lower))
        if (value := entry_level(word))
    ]
    if not found:
        return None
    value, _, word = min(found)
    return round(value), word


def _without_clitic(lower: str) -> str:
    if lower in own_levels():
        return lower
    if lower.endswith("n't"):
        return _NEGATED.get(lower, lower[:-3])
    return _CLITIC.sub("", lower)


def _is_more_than_a_name(lower: str) -> bool:
    return lower in own_levels() or any(not part.startswith("NNP") for part in cefr_parts(lower))


@lru_cache(maxsize=16384)
def _token(token: str) -> tuple[int, str] | None:
    """Return (level, headword) of a running word, None for names and unknown words."""
    lower = _without_clitic(plain(token))
    if is_name(token):
        return None
    # "tom" typed in lower case: cefrpy knows it as a proper noun and gives it a level all the same.
    if lower.capitalize() in name_lists()[0] and not _is_more_than_a_name(lower):
        return None
    return _reading(lower)


def running_level(token: str) -> int | None:
    """Return the level, 1 = A1 … 6 = C2, of a word of a text; None for names and unknown words."""
    found = _token(token)
    return found[0] if found else None


@lru_cache(maxsize=8192)
def level(word: str) -> str | None:
    """Return "A1" … "C2", None for names and unknown words; a phrase has the level of its hardest word."""
    if is_name(word):
        return None
    if plain(word) in own_levels():
        return BANDS[own_levels()[plain(word)] - 1]
    found = [_token(token) for token in _WORD.findall(word) if token not in _PLACEHOLDERS]
    if not found or None in found:
        return None
    return BANDS[max(entry[0] for entry in found if entry) - 1]


def _measured(levels: list[int], sentence: float) -> Level:
    for number, (band, bar) in enumerate(BARS.items(), start=1):
        share = sum(level <= number for level in levels) / len(levels)
        if share >= bar.share and sentence <= bar.sentence:
            return band
    return Level.B2


def level_report(text: str, asked: Level | None) -> LevelReport:
    """Measure `text` against the band asked for; without one, words above A2 count as hard."""
    running = _WORD.findall(text)
    words = [(token, found) for token in running if (found := _token(token))]
    if not words:
        return LevelReport(asked=asked, measured=Level.A1, share_above=0.0)
    sentences = max(1, len(_SENTENCE_END.findall(text)))
    band = BANDS.index(asked or Level.A2) + 1
    above = [(token, entry) for token, entry in words if entry[0] > band]
    first_seen: dict[str, tuple[int, str]] = {}
    for token, (number, headword) in above:
        first_seen.setdefault(headword, (number, token.lower()))
    hardest = sorted(first_seen, key=lambda headword: -first_seen[headword][0])[:HARD_WORDS]
    hard_words = [
        HardWord(word=token, lemma=headword, level=BANDS[number - 1])
        for headword, (number, token) in first_seen.items()
        if headword in hardest
    ]
    return LevelReport(
        asked=asked,
        measured=_measured([entry[0] for _, entry in words], len(running) / sentences),
        share_above=len(above) / len(words),
        hard_words=hard_words,
    )
