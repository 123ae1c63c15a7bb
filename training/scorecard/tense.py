"""Whether verbs follow the time word of their sentence: *yesterday* a past form, *tomorrow* none alone.

Forms come from lemminflect. Sentence by sentence, quoted speech apart, so that a story told in the present
with one *yesterday* in it counts rightly. Knows nothing of models.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from training.scorecard.metrics import sentences_of, words_of

_PAST = re.compile(
    r"(?<!from )(?<!the )\b(?:yesterday|last (?:night|week|month|year|summer|winter|spring|autumn)|"
    r"(?:days?|weeks?|months?|years?|hours?|minutes?) ago)\b",
    re.IGNORECASE,
)
_FUTURE = re.compile(
    r"(?<!for )(?<!until )(?<!the )\b(?:tomorrow|next (?:week|month|year|summer|winter|spring|autumn))\b",
    re.IGNORECASE,
)
_QUOTE = re.compile(r"[\"“](.*?)[\"”]")
_PAST_WORDS = frozenset({"was", "were", "had", "did", "wasn't", "weren't", "hadn't", "didn't"})
_OPEN = """
    will won't shall would wouldn't could couldn't can can't cannot may might must should shouldn't let's am
    is are isn't aren't do does don't doesn't have has going
"""
_OPEN_WORDS = frozenset(_OPEN.split())
_OPEN_ENDS = ("'ll", "'re", "'d", "'m")
# What a past verb with an infinitive looks like: wanted to go, told him to come, was ready to leave.
_WANTS = (
    r"(?:want|need|decid|promis|plann?|ask|hop|agree|offer|tri|lik|lov|prepar|expect|wish|intend)(?:ed|d)|had|"
    r"told|forgot|chose|ready|able|about|time|him|her|them|me|us|you|it"
)
_INFINITIVE = re.compile(rf"\b(?:{_WANTS}) to \w", re.IGNORECASE)


@lru_cache(maxsize=20_000)
def _tags(word: str) -> frozenset[str]:
    """Return the Penn tags that a lower-case form may have as a verb."""
    from lemminflect import getAllInflections, getAllLemmas

    found: set[str] = set()
    for lemma in getAllLemmas(word, upos="VERB").get("VERB", ()):
        for tag, forms in getAllInflections(lemma, upos="VERB").items():
            if word in forms:
                found.add(str(tag))
    return frozenset(found)


def has_past(words: Sequence[str]) -> bool:
    """Whether a simple past form is among lower-case words (*went*, *was*, *put*)."""
    return any(word in _PAST_WORDS or "VBD" in _tags(word) for word in words)


def _only_past(words: Sequence[str]) -> bool:
    """Whether words speak of the past alone: a form that is nothing but past, no other auxiliary."""
    past = any(word in _PAST_WORDS or ("VBD" in _tags(word) and "VB" not in _tags(word)) for word in words)
    return past and not any(word in _OPEN_WORDS or word.endswith(_OPEN_ENDS) for word in words)


def _clauses(text: str) -> Iterator[str]:
    """Yield the sentences of a text, quoted speech apart from what is said around it."""
    for sentence in sentences_of(text):
        pieces = _QUOTE.split(sentence)
        yield " ".join(pieces[::2])
        yield " ".join(pieces[1::2])


def time_words_followed(text: str) -> Iterator[float]:
    """Yield 1 or 0 for each sentence with a time word: whether a verb of the sentence goes with it.

    With *yesterday*, *last week*, *two days ago* a past form must stand in the sentence; with *tomorrow*,
    *next week* anything but past forms alone (*Tomorrow he went* is 0; *will go*, *is going*, *goes*, *wanted
    to go* are 1). A sentence with time words of both kinds is left out. Higher is better.
    """
    for sentence in _clauses(text):
        past, future = _PAST.search(sentence), _FUTURE.search(sentence)
        if bool(past) == bool(future):
            continue
        rest = (_PAST if past else _FUTURE).sub(" ", sentence)
        words = words_of(rest)
        yield float(has_past(words) if past else not _only_past(words) or bool(_INFINITIVE.search(rest)))
