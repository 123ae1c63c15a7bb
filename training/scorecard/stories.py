"""Stories to be measured, told or written by people, and the values measured. Knows no metric."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from random import Random
from statistics import fmean, stdev

from engine.schema import Genre, Level
from training.data.documents import Document

Z95 = 1.96


@dataclass(frozen=True)
class Story:
    """One story and what was asked for. `finished` is False for a draft that was cut off."""

    title: str
    text: str
    words: tuple[str, ...] = ()
    genre: Genre | None = None
    level: Level | None = None
    finished: bool = True


@dataclass(frozen=True)
class Measured:
    """A figure: its value, the number of stories or sentences behind it, half its 95 % interval.

    `value` is None when nothing could be measured; `error` is None where no interval is known.
    """

    value: float | None
    count: int = 0
    error: float | None = None


NOTHING = Measured(None)


def written(document: Document) -> Story:
    """Return a document of the training data as a story; the level is the one its writer was asked for."""
    level = getattr(document, "level_asked", None) or document.level
    return Story(
        title=document.title or "",
        text=document.text,
        words=tuple(document.words),
        genre=Genre(document.genre) if document.genre else None,
        level=Level(level) if level else None,
    )


def mean(values: Iterable[float | None]) -> Measured:
    """Return the mean of the values that are not None, with half its 95 % interval.

    The interval is Wilson's (1927) where all values are 0 or 1, else the normal one, None for one value.
    """
    known = [float(value) for value in values if value is not None]
    if not known:
        return NOTHING
    value, count = fmean(known), len(known)
    if set(known) <= {0.0, 1.0}:
        spread = value * (1 - value) / count + Z95**2 / (4 * count**2)
        return Measured(value, count, Z95 / (1 + Z95**2 / count) * math.sqrt(spread))
    return Measured(value, count, Z95 * stdev(known) / math.sqrt(count) if count > 1 else None)


def spoilt(stories: Sequence[Story], way: str) -> list[Story]:
    """Return the stories spoilt in one of the ways of `training.reranker.corruptions`, the same every time.

    Stories too short for it are left out.
    """
    from training.reranker.corruptions import content_vocabulary, corrupt

    vocabulary = content_vocabulary([story.text for story in stories])
    made = []
    for number, story in enumerate(stories):
        other = stories[(number + 7) % len(stories)].text
        text = corrupt(way, story.text, other, Random(number), vocabulary)
        if text is not None:
            made.append(replace(story, text=text))
    return made
