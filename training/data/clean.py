"""Cleaning of texts: encoding, boilerplate, what is no story and what is not for learners.

Knows nothing of sources.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

import ftfy

from engine.content import ContentFilter
from engine.prompts.storyteller import normalise

MAX_WORDS = 330
MIN_STORY_WORDS = 20
# A passage whose sentences are longer on average is older or denser prose than learners should copy.
MAX_SENTENCE = 25
MIN_ENGLISH = 0.25

_ODD = re.compile(r"[^\x20-\x7e\u00a1-\u024f]")
_BOILERPLATE = re.compile(
    r"https?://|www\.|©|copyright|\[\d+\]|_{2,}|={3,}|isbn|<[a-z/]|project gutenberg|all rights reserved|"
    r"attribution:|creative commons",
    re.IGNORECASE,
)
_ARCHAIC = re.compile(
    r"\b(thee|thou|thy|thine|hath|doth|quoth|nigh|ye|unto|whilst|betwixt|forsooth|verily|wherefore|o'er|"
    r"'twas|nay|hither|thither|yonder|lest|ere)\b",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"']?\s+(?=[\"'A-Z])")
_SCRIPT = re.compile(r"(?:^|\n)\s*(?:[A-Z][A-Z .]{2,}|Narrator|Host)\s*:")
_ENDS = re.compile(r"[.!?][\"')\]]*$")
_STARTS = re.compile(r"[\"'(]?[A-Z0-9\u00c0-\u00de]")
_COMMONEST = """
the a an and to of in it is was he she i you his her that they for with on at but not had have my as be
were said so him me we this all from are there by when out up do what their
"""
_ENGLISH = frozenset(_COMMONEST.split())


def clean(text: str, least: int = 8) -> str | None:
    """Return the text on one line in plain characters, or None when it is not fit for training.

    A text of fewer than `least` characters is not.
    """
    text = normalise(ftfy.fix_text(text).replace("* * *", " ").replace("**", "").replace("#", ""))
    if len(text) < least or _BOILERPLATE.search(text):
        return None
    if len(_ODD.findall(text)) > 0.01 * len(text):
        return None
    return _ODD.sub("", text)


def is_archaic(text: str) -> bool:
    """Whether a passage uses words that a learner of today should not copy (one in 400 words or more)."""
    return len(_ARCHAIC.findall(text)) * 400 > len(text.split())


@lru_cache(maxsize=1)
def _filter() -> ContentFilter:
    return ContentFilter()


def unsuitable(text: str) -> str | None:
    """Return the category of the content filter's first finding in classroom mode, None without any."""
    found = _filter().find(text, strict=True)
    return found.term.category if found else None


def no_story(raw: str, text: str) -> str | None:
    """Return why a text is no story (a play, another language, endless repetition), None when it may be one.

    `raw` still has its lines, `text` is cleaned.
    """
    words = text.lower().split()
    if len(_SCRIPT.findall(raw)) >= 3:
        return "script"
    if sum(word.strip(".,!?\"'") in _ENGLISH for word in words) < MIN_ENGLISH * len(words):
        return "not English prose"
    parts = sentences(text)
    if len(parts) >= 6 and len(set(parts)) < 0.6 * len(parts):
        return "repetition"
    return None


def is_cut(text: str) -> bool:
    """Whether a text begins in the middle or does not end with a sentence."""
    return _ENDS.search(text) is None or _STARTS.match(text) is None


def mean_sentence(text: str) -> float:
    """Return the mean number of words a sentence; 0 for an empty text."""
    parts = sentences(text)
    return len(text.split()) / len(parts) if parts else 0.0


def sentences(text: str) -> list[str]:
    """Split one-line text into sentences by punctuation."""
    return [part for part in _SENTENCE_END.split(text) if part]


def passages(text: str, words: int = 200) -> Iterator[str]:
    """Cut a long text at paragraph ends into passages of about `words` words."""
    held: list[str] = []
    size = 0
    for paragraph in text.split("\n"):
        if not paragraph.strip() or paragraph.strip() == "* * *":
            continue
        count = len(paragraph.split())
        if held and size + count > words * 1.3:
            yield "\n".join(held)
            held, size = [], 0
        held.append(paragraph)
        size += count
        if size >= words:
            yield "\n".join(held)
            held, size = [], 0
    if size > 30:
        yield "\n".join(held)


def refusal(kind: str, raw: str, text: str | None) -> str | None:
    """Return why a document of a kind is left out of training, None when it stays. `text` is `clean(raw)`."""
    if text is None:
        return "encoding or boilerplate"
    count = len(text.split())
    if count > MAX_WORDS:
        return "too long"
    if kind in ("story", "text") and (reason := _prose_refusal(kind, raw, text, count)):
        return reason
    # Last, as it takes ten times as long as all the rest.
    category = unsuitable(text)
    return f"unsuitable: {category}" if category else None


def _prose_refusal(kind: str, raw: str, text: str, count: int) -> str | None:
    if count < MIN_STORY_WORDS:
        return "too short"
    if is_archaic(text):
        return "old words"
    if kind == "story" and is_cut(text):
        return "cut off"
    if mean_sentence(text) > MAX_SENTENCE:
        return "long sentences"
    return no_story(raw, text)
