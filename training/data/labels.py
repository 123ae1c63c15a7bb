"""Labels read off a text: its length band and the lemmas that may serve as word condition.

Knows nothing of sources or of prompts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

from lemminflect import getAllLemmas

from engine.prompts.base import LENGTH_WORDS
from engine.schema import Length

_WORD = re.compile(r"[A-Za-z][A-Za-z']+")
COMMON_SHARE = 0.06
MAX_CONTENT = 40


def length_band(text: str) -> Length:
    """Return the band of `LENGTH_WORDS` that the number of words falls into."""
    count = len(text.split())
    for band in (Length.SHORT, Length.MEDIUM):
        if count <= LENGTH_WORDS[band]:
            return band
    return Length.LONG


@lru_cache(maxsize=100_000)
def lemma_of(form: str) -> str:
    """Return a lemma of a lower-case form: a verb's first, as verbs change most; the form if unknown."""
    lemmas = getAllLemmas(form)
    for part in ("VERB", "NOUN", "ADJ", "ADV"):
        if lemmas.get(part):
            return str(lemmas[part][0])
    return form


def common_words(texts: Iterable[str]) -> frozenset[str]:
    """Return the words that occur in more than 6 % of the texts: too plain to be asked for."""
    seen: Counter[str] = Counter()
    total = 0
    for text in texts:
        total += 1
        seen.update({word.lower() for word in _WORD.findall(text)})
    return frozenset(word for word, count in seen.items() if count > COMMON_SHARE * total)


def content_words(text: str, common: frozenset[str]) -> list[str]:
    """Return distinct lemmas and names of a text in order, at most 40, without common words."""
    found: dict[str, None] = {}
    for match in _WORD.finditer(text):
        word = match.group().removesuffix("'s").strip("'")
        lower = word.lower()
        if len(word) < 3 or lower in common or "'" in word:
            continue
        starts_sentence = match.start() == 0 or text[match.start() - 2 : match.start() - 1] in '.!?"'
        if word[0].isupper():
            if not starts_sentence:
                found.setdefault(word)
            continue
        base = lemma_of(lower)
        if base not in common:
            found.setdefault(base)
    return list(found)[:MAX_CONTENT]
