"""Where sentences end in running English text. Knows nothing of models or requests."""

from __future__ import annotations

import re

_END = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s*$|\s+[^a-z\s])|[。！？]+[」』”]?")
_SIGNS = ".!?…\"'”’)]。！？」』"
_NO_END = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|St|Prof|Sr|Jr|vs|etc|e\.g|i\.e)|\b[A-Z])\.$")


def sentence_ends(text: str) -> list[int]:
    """Return the offsets just after each sentence, outside open quotation marks."""
    return [end.end() for end in _END.finditer(text) if _closes(text, end)]


def last_sentence_end(text: str) -> int:
    """Return the offset after the last whole sentence, 0 when there is none."""
    for end in reversed(list(_END.finditer(text))):
        if _closes(text, end):
            return end.end()
    return 0


def ends_properly(text: str) -> bool:
    """Whether `text` stops at the end of a sentence. Looks at its last characters only."""
    if text[-1:].isalpha():
        return False
    text = text.rstrip()
    # A match is made of these signs alone, so none that reaches the end starts before them.
    start = len(text.rstrip(_SIGNS))
    ends = list(_END.finditer(text, start)) if start < len(text) else []
    return bool(ends) and ends[-1].end() == len(text) and _closes(text, ends[-1])


def _closes(text: str, end: re.Match[str]) -> bool:
    if _NO_END.search(text, max(0, end.start() - 6), end.start() + 1) and end.group().startswith("."):
        return False
    before = text[: end.end()]
    return before.count('"') % 2 == 0 and before.count("“") <= before.count("”")
