"""The CEFR level that a text has, measured: hard words and sentence length. Knows nothing of sources.

Words: the engine's bars (`engine.lexicon`), so that what a story is trained as and what its receipt says
agree; words that the story was asked to hold do not count, as a learner brings them. Sentences: the mean and
the longest, by bars set at the 99th percentile of those of our graded stories (ids 200 and up) whose writers
were held to short sentences: A1 9.2 and 12 words, A2 15.0 and 22, B1 19.1 and 27, rounded up. The engine's
bars for the mean (11, 16.5, 22) are looser: they judge a text, these choose what to learn from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.lexicon import level_report, match
from engine.schema import Level
from training.data.clean import sentences


@dataclass(frozen=True, slots=True)
class Bar:
    """What a text of a level keeps to: share of words above it, mean and longest sentence in words."""

    above: float
    mean: float
    longest: int


BARS: dict[Level, Bar] = {
    Level.A1: Bar(above=0.15, mean=10.0, longest=13),
    Level.A2: Bar(above=0.05, mean=15.0, longest=22),
    Level.B1: Bar(above=0.03, mean=20.0, longest=30),
}
ORDER = tuple(Level)


def without(text: str, words: Sequence[str]) -> str:
    """Return `text` without any form of `words`."""
    for span in reversed(match(words, text)):
        text = text[: span.start] + text[span.end :]
    return text


def measured_level(text: str, given: Sequence[str] = ()) -> Level:
    """Return the easiest level whose bars `text` keeps to, B2 when it keeps to none.

    `given` are words that the text was asked to hold. Words beyond B2 count as above B1, no further.
    """
    lengths = [len(sentence.split()) for sentence in sentences(text)]
    if not lengths:
        return Level.A1
    mean, longest = sum(lengths) / len(lengths), max(lengths)
    plain = without(text, given) if given else text
    for level, bar in BARS.items():
        if (
            mean <= bar.mean
            and longest <= bar.longest
            and level_report(plain, level).share_above <= bar.above
        ):
            return level
    return Level.B2
