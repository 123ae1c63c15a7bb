"""Which of several drafts is the best: words used, a proper end, the level kept, no repetition, fluency.

Turns decoded rows into drafts with a complete last sentence. Knows the lexicon and prompt families; nothing
of how rows are decoded.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from engine.jobs import RowResult
from engine.lexicon import level_report, match
from engine.prompts import Codec, PromptFamily
from engine.prompts.base import LENGTH_WORDS
from engine.schema import MAX_TITLE_CHARS, Kind, Length, Level, StoryRequest, WordSpan
from engine.sentences import last_sentence_end

# Points off. One missing word outweighs everything else together.
MISSING_WORD = 100.0
NO_SENTENCE = 40.0
CUT = 2.0
ABOVE_LEVEL = 40.0
LEVEL_TOLERANCE = 0.05
# For a text that is measured above the level, be it for the length of its sentences.
OVER_LEVEL = 4.0
# Four words said twice in a story of 80 words weigh as much as 0.16 nats a token.
REPEATED = 150.0
STUTTER = 3.0
# Points off, per share of words that are a content word's third use or later ("the cake ate the cake").
WORN = 60.0
# For two of the words side by side, as in a list.
CROWDED = 4.0
LENGTH_OFF = 0.1
MAX_LENGTH_OFF = 12.0
# Points on, per nat of mean log-probability: what readers' sense follows most (docs/reranking.md).
FLUENCY = 12.0
# Standard deviations of the learned scorer that count, either way: no score may make up for a word.
MAX_LEARNED = 4.0

MIN_STORY_WORDS = 12
NGRAM = 4
WORN_LETTERS = 4
_WORD = re.compile(r"[\w'’-]+")
_LOWER_BOUND = {Length.SHORT: MIN_STORY_WORDS, Length.MEDIUM: 50, Length.LONG: 90}


@dataclass(frozen=True)
class Draft:
    """One candidate: its text ends at the end of a sentence; `score` is comparable within a request.

    `logprob` is the mean a token, in nats; `cut` says that words after the last sentence were taken off;
    `learned` is the learned scorer's score, None where none has read the draft.
    """

    index: int
    title: str
    text: str
    used: list[str]
    missed: list[str]
    score: float
    logprob: float = 0.0
    cut: bool = False
    learned: float | None = None


def draft_of(
    row: RowResult, ids: Sequence[int], request: StoryRequest, family: PromptFamily, codec: Codec
) -> Draft:
    """Turn a decoded row into a scored draft; `ids` are all its ids after the prompt."""
    parsed = family.parse(ids, codec, request)
    text, whole = complete(parsed.text, len(request.opening or ""))
    spans = match(request.words, text)
    found = {span.word for span in spans}
    used = [word for word in request.words if word in found]
    missed = [word for word in request.words if word not in found]
    shortened = len(text) < len(parsed.text.rstrip())
    logprob = row.logprob / max(1, len(row.tokens))
    score = (
        -MISSING_WORD * len(missed)
        - (0.0 if whole else NO_SENTENCE)
        - (CUT if shortened else 0.0)
        - _level_points(text, request)
        - REPEATED * repeated_share(text)
        - STUTTER * _stutters(text)
        - WORN * worn_share(text)
        - CROWDED * _crowded(spans, text)
        - _length_points(text, request)
        + FLUENCY * logprob
    )
    cut = shortened or not whole
    return Draft(row.index, title_of(parsed.title, text), text, used, missed, score, logprob, cut)


def with_learned(drafts: Sequence[Draft], scores: Sequence[float], weight: float) -> list[Draft]:
    """Return the drafts with the learned scorer's points added, `weight` for each standard deviation.

    They are 0 at MAX_LEARNED below the mean. A draft that was cut gets none, however good it sounds.
    """
    found = []
    for draft, score in zip(drafts, scores, strict=True):
        points = weight * (MAX_LEARNED + min(MAX_LEARNED, max(-MAX_LEARNED, score)))
        found.append(replace(draft, learned=score, score=draft.score + (0.0 if draft.cut else points)))
    return found


def complete(text: str, keep: int = 0) -> tuple[str, bool]:
    """Return `text` up to its last sentence end and whether there is one; `keep` characters stay."""
    text = clean(text, keep).rstrip()
    end = last_sentence_end(text)
    if end and end >= keep:
        return text[:end], True
    rest = text[keep:].rstrip(" ,;:-–—")
    return text[:keep] + rest + ("." if rest else ""), False


def clean(text: str, keep: int = 0) -> str:
    """Return `text` without what stands for broken characters; the first `keep` characters stay."""
    return text[:keep] + text[keep:].replace("\ufffd", "")


def title_of(title: str, text: str) -> str:
    """Return a clean title; the text's first words when the model gave none."""
    cleaned = " ".join(clean(title).split()).strip(" .,;:-")
    if not re.search(r"\w", cleaned):
        cleaned = " ".join(text.split()[:5]).strip(" .,;:!?\"'-")
    return cleaned[:MAX_TITLE_CHARS].strip() or "A story"


def best_of(drafts: Sequence[Draft]) -> Draft:
    """Return the draft of the highest score; the earlier of equals."""
    return max(drafts, key=lambda draft: draft.score)


def repeated_share(text: str) -> float:
    """Return the share of 4-grams of words that occurred before in the text, 0 … 1."""
    words = [word.lower() for word in _WORD.findall(text)]
    grams = Counter(tuple(words[i : i + NGRAM]) for i in range(len(words) - NGRAM + 1))
    total = sum(grams.values())
    return (total - len(grams)) / total if total else 0.0


def worn_share(text: str) -> float:
    """Return the share of words that are the third use or later of a word of four letters or more, 0 … 1.

    Names may come as often as they like.
    """
    words = _WORD.findall(text)
    counts = Counter(word for word in words if len(word) >= WORN_LETTERS and word.islower())
    return sum(max(0, count - 2) for count in counts.values()) / len(words) if words else 0.0


def _stutters(text: str) -> int:
    words = [word.lower() for word in _WORD.findall(text)]
    allowed = {"had", "that", "very", "so", "really", "no", "ha", "knock"}
    return sum(a == b and a not in allowed for a, b in pairwise(words))


def _crowded(spans: Sequence[WordSpan], text: str) -> int:
    """Count neighbouring required words with at most one word between them."""
    return sum(
        a.word != b.word and len(_WORD.findall(text[a.end : b.start])) <= 1 for a, b in pairwise(spans)
    )


def _level_points(text: str, request: StoryRequest) -> float:
    if request.level is None:
        return 0.0
    report = level_report(text, request.level)
    bands = [*Level]
    over = bands.index(report.measured) > bands.index(request.level)
    return ABOVE_LEVEL * max(0.0, report.share_above - LEVEL_TOLERANCE) + (OVER_LEVEL if over else 0.0)


def _length_points(text: str, request: StoryRequest) -> float:
    count = len(text.split())
    low, high = 3, 10_000
    if request.kind in (Kind.STORY, Kind.CONTINUE, Kind.SIMPLER, Kind.HARDER):
        low = MIN_STORY_WORDS
        if request.kind is Kind.STORY and request.length is not None:
            low, high = _LOWER_BOUND[request.length], LENGTH_WORDS[request.length]
    off = max(low - count, count - high, 0)
    return min(MAX_LENGTH_OFF, LENGTH_OFF * off)
