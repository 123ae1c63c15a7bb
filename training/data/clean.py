"""Cleaning of texts: encoding, boilerplate, and what is no story. Knows nothing of sources."""

from __future__ import annotations

import re
from collections.abc import Iterator

import ftfy

from engine.prompts.storyteller import normalise

_ODD = re.compile(r"[^\x20-\x7e\u00a1-\u024f]")
_BOILERPLATE = re.compile(r"https?://|www\.|©|copyright|\[\d+\]|_{2,}|={3,}|isbn|<[a-z/]", re.IGNORECASE)
_ARCHAIC = re.compile(
    r"\b(thee|thou|thy|thine|hath|doth|quoth|nigh|ye|unto|whilst|betwixt|forsooth|verily|wherefore|o'er|"
    r"'twas|nay|hither|thither|yonder|lest|ere)\b",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"']?\s+(?=[\"'A-Z])")


def clean(text: str) -> str | None:
    """Return the text on one line in plain characters, or None when it is not fit for training."""
    text = normalise(ftfy.fix_text(text).replace("* * *", " ").replace("**", "").replace("#", ""))
    if len(text) < 8 or _BOILERPLATE.search(text):
        return None
    if len(_ODD.findall(text)) > 0.01 * len(text):
        return None
    return _ODD.sub("", text)


def is_archaic(text: str) -> bool:
    """Whether a passage uses words that a learner of today should not copy (one in 400 words or more)."""
    return len(_ARCHAIC.findall(text)) * 400 > len(text.split())


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
