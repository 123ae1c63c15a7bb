"""A story with its receipt: which of the learner's words it uses, in which form, and what is harder.

Knows the engine's result; knows no platform.
"""

from __future__ import annotations

from bot.localisation import Localiser, isolated
from bot.replies import Highlight, Role, Segment
from engine.schema import Kind, StoryResult

HARD_WORDS = 3
UNTITLED = frozenset((Kind.SENTENCE, Kind.JOKE))
"""Kinds whose title is only the beginning of their text."""


def story_segments(say: Localiser, result: StoryResult) -> list[Segment]:
    """Return title, story with the learner's words highlighted, receipt and the dim line about its making."""
    titled = result.title and result.kind not in UNTITLED
    segments = [Segment(result.title, Role.TITLE)] if titled else []
    segments.append(Segment(result.text, Role.STORY, highlights(result)))
    segments += [Segment(line, Role.RECEIPT) for line in receipt_lines(say, result)]
    segments.append(Segment(detail_line(say, result), Role.DETAIL))
    return segments


def highlights(result: StoryResult) -> tuple[Highlight, ...]:
    """Return the spans of the learner's words in order, none overlapping and none outside the text."""
    marks: list[Highlight] = []
    for span in sorted(result.spans, key=lambda span: (span.start, -span.end)):
        start = max(span.start, marks[-1].end if marks else 0)
        end = min(span.end, len(result.text))
        if start < end:
            marks.append(Highlight(start, end))
    return tuple(marks)


def receipt_lines(say: Localiser, result: StoryResult) -> list[str]:
    """Return the receipt: words kept (with the form they took), words missing, two or three harder ones."""
    lines: list[str] = []
    used, missed, total = len(result.words_used), len(result.words_missed), len(result.words)
    if total:
        listed = ", ".join(_with_form(result, word) for word in result.words_used)
        missing = ", ".join(map(isolated, result.words_missed))
        if not missed:
            lines.append(say("receipt-all", used=used, total=total, words=listed))
        elif used:
            lines.append(say("receipt-some", used=used, total=total, words=listed, missing=missing))
        else:
            lines.append(say("receipt-none", total=total, missing=missing))
    asked = {word.casefold() for word in result.words}
    harder = (word for word in result.level_report.hard_words if word.lemma.casefold() not in asked)
    hard = dict.fromkeys(f"{word.lemma} ({word.level})" for word in harder)
    if hard:
        lines.append(say("receipt-harder", words=", ".join(list(hard)[:HARD_WORDS])))
    return lines


def detail_line(say: Localiser, result: StoryResult) -> str:
    """Return what is needed to get the same story again, and its measured level."""
    return say(
        "receipt-detail",
        level=result.level_report.measured.value,
        seed=str(result.seed),
        n=str(result.n),
        model=f"{result.model} {result.model_version}".strip(),
    )


def _with_form(result: StoryResult, word: str) -> str:
    forms = (span.form for span in result.spans if span.word == word)
    form = next(forms, word)
    if form.casefold() == word.casefold():
        return isolated(word)
    return f"{isolated(word)} → {isolated(form)}"
