"""Figures of the surface of a text: words kept, level, variety, repetition, length, ends, blocklist.

Every function is pure and takes any text. Knows nothing of models, files or tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from statistics import fmean

from engine.content import ContentFilter
from engine.lexicon import level_report, used_words
from engine.schema import Level
from engine.sentences import ends_properly, sentence_ends

BLOCK_WORDS = 2000
_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")


def words_of(text: str) -> list[str]:
    """Return the running words of a text in lower case; apostrophes and hyphens join."""
    return _WORD.findall(text.lower().replace("’", "'"))


def sentences_of(text: str) -> list[str]:
    """Return the sentences of a text, a cut last one included; quoted speech stays with its sentence."""
    starts = [0, *sentence_ends(text)]
    parts = [text[a:b].strip() for a, b in zip(starts, [*starts[1:], len(text)], strict=True)]
    return [part for part in parts if _WORD.search(part)]


def ngrams(words: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    """Yield the n-grams of a list of words, in order."""
    return zip(*(words[start:] for start in range(n)), strict=False)


def all_words_used(words: Sequence[str], text: str) -> float | None:
    """Return 1 when every word asked for stands in the text in some form, else 0; None without words.

    0 or 1, higher is better. The matching is `engine.lexicon`'s, the same as in a story's receipt.
    """
    return float(not used_words(words, text)[1]) if words else None


def share_above(text: str, level: Level | None) -> float | None:
    """Return the share of running words of known level above the band asked for, 0 … 1; None without one."""
    return level_report(text, level).share_above if level else None


def within_level(text: str, level: Level | None) -> float | None:
    """Return 1 when the measured band of the text is the one asked for or easier, else 0; None without one.

    The measure is `engine.lexicon.levels`: words by CEFR-J and length of sentences.
    """
    if level is None:
        return None
    bands = list(Level)
    return float(bands.index(level_report(text, level).measured) <= bands.index(level))


def distinct(texts: Sequence[str], n: int, block: int = BLOCK_WORDS) -> float | None:
    """Return distinct-n: different n-grams over all n-grams, 0 … 1 (Li et al. 2016, arXiv:1510.03055).

    The share falls as a text grows, so it is taken over blocks of about `block` running words and averaged;
    the last, shorter block counts only when there is no other. None without an n-gram.
    """
    shares: list[float] = []
    grams: list[tuple[str, ...]] = []
    size = 0
    for text in texts:
        words = words_of(text)
        grams += ngrams(words, n)
        size += len(words)
        if size >= block:
            shares.append(len(set(grams)) / len(grams) if grams else 0.0)
            grams, size = [], 0
    if not shares and grams:
        shares.append(len(set(grams)) / len(grams))
    return fmean(shares) if shares else None


def repeats_ngram(text: str, n: int = 4) -> float:
    """Return 1 when an n-gram of the text occurs twice in it, else 0.

    The mean over stories is rept-4 (Shao et al. 2019, arXiv:1908.06605), lower is better; people: 0.5 … 8 %.
    """
    grams = list(ngrams(words_of(text), n))
    return float(len(set(grams)) < len(grams))


def sentence_count(text: str) -> float:
    """Return the number of sentences, 0 or more; neither many nor few is better, people are the measure."""
    return float(len(sentences_of(text)))


def words_per_sentence(text: str) -> float | None:
    """Return the mean number of words of a sentence, above 0; None without a sentence."""
    parts = sentences_of(text)
    return fmean(len(words_of(part)) for part in parts) if parts else None


def ends_well(text: str, finished: bool = True) -> float:
    """Return 1 when the text was ended by its teller and stops at the end of a sentence, else 0."""
    return float(finished and ends_properly(text))


def is_unsuitable(title: str, text: str) -> float:
    """Return 1 when title or text hold something on the blocklist, in the strict mode of groups, else 0."""
    return float(_content().check_text(f"{title}\n{text}", True) is not None)


@lru_cache(maxsize=1)
def _content() -> ContentFilter:
    return ContentFilter()
