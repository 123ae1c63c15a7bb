"""Where a learner's words stand in a text, in characters of that very text.

Whole words only: "art" is not in "party", "clock" not in "o'clock", "won" not in "won't"; "Tom" is in
"Tom's". Names match in their own case or shouted (TOM), everything else in any case. Between the parts of a
phrase any white space or one hyphen may stand. Chinese, Japanese and Thai have no spaces: their words match
anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from engine.lexicon.folding import fold, fold_word
from engine.lexicon.inflection import forms
from engine.lexicon.names import is_name
from engine.schema import WordSpan

# Scripts written without spaces (Thai to Khmer, kana, Han) and Hangul, whose words carry their particles.
_UNSPACED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3040-\u30ff\u3130-\u318f\u3400-\u9fff"
    r"\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
_UNSPACED_CHAR = re.compile(f"[{_UNSPACED}]")
_SPACED_EDGES = (r"(?<!\w)(?<!\w')", r"(?!\w)(?!'t\b)")
_MIXED_EDGES = (rf"(?<![^\W{_UNSPACED}])(?<!\w')", rf"(?![^\W{_UNSPACED}])(?!'t\b)")
_WORD_EDGE = re.compile(rf"[^\W{_UNSPACED}]")
_GAP = re.compile(r"[\s-]+")


def _body(form: str) -> str:
    parts = [re.escape(part) for part in _GAP.split(form)]
    # A hyphen at an edge belongs to the word; between two parts it may also be white space.
    return r"(?:\s+|-)".join(parts) if all(parts) else re.escape(form)


@lru_cache(maxsize=4096)
def _pattern(word: str, mixed: bool) -> re.Pattern[str] | None:
    folded = dict.fromkeys(fold_word(form).strip() for form in forms(word))
    # The edges that know unspaced scripts take milliseconds to compile: only texts with such letters pay.
    left, right = _MIXED_EDGES if mixed else _SPACED_EDGES
    bodies: dict[tuple[str, str], list[str]] = {}
    for form in sorted((form for form in folded if form), key=len, reverse=True):
        edges = left if _WORD_EDGE.match(form[0]) else "", right if _WORD_EDGE.match(form[-1]) else ""
        bodies.setdefault(edges, []).append(_body(form))
        if is_name(word) and len(form) > 2:
            bodies[edges].append(_body(form.upper()))  # a shouted TOM is Tom
    # The case flag covers the forms only: over the boundary classes it would take 60 ms to compile.
    flag = "" if is_name(word) else "i"
    groups = [f"{before}(?{flag}:{'|'.join(found)}){after}" for (before, after), found in bodies.items()]
    return re.compile("|".join(groups)) if groups else None


def _spans(word: str, text: str) -> list[WordSpan]:
    folded = fold(text)
    pattern = _pattern(word, _UNSPACED_CHAR.search(folded.text) is not None)
    spans: list[WordSpan] = []
    position = 0
    while pattern is not None and (hit := pattern.search(folded.text, position)):
        place = folded.original(hit.start(), hit.end())
        if place is None:
            position = hit.start() + 1
            continue
        start, end = place
        spans.append(WordSpan(word=word, form=text[start:end], start=start, end=end))
        position = hit.end()
    return spans


def match(words: Sequence[str], text: str) -> list[WordSpan]:
    """Return every place of `text` where one of `words` stands in any form, sorted by start."""
    spans = [span for word in dict.fromkeys(words) for span in _spans(word, text)]
    return sorted(spans, key=lambda span: (span.start, span.end))


def used_words(words: Sequence[str], text: str) -> tuple[list[str], list[str]]:
    """Return (used, missed): `words` without repeats, each in the order given."""
    used: list[str] = []
    missed: list[str] = []
    for word in dict.fromkeys(words):
        (used if _spans(word, text) else missed).append(word)
    return used, missed
