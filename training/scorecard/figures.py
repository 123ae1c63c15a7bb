"""The figures of the scorecard: their names, which way is better, and how all are taken of a set of stories.

Knows the metrics and the tools they need (embeddings, classifier, judge); nothing of engines or files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from training.scorecard import coherence, metrics, people, tense
from training.scorecard.copying import Copied
from training.scorecard.stories import NOTHING, Measured, Story, mean

if TYPE_CHECKING:
    from training.data.embeddings import Embedder
    from training.data.genre import GenreClassifier
    from training.scorecard.judge import Judge

Better = Literal["more", "less", "people"]
LearnedScore = Callable[[Sequence[Story]], Sequence[float | None]]
BITS = "bits_per_byte."


@dataclass(frozen=True)
class Figure:
    """A row of the scorecard. `better` "people" means: the nearer to people's stories, the better."""

    key: str
    title: str
    better: Better
    share: bool = True
    """Whether the value is a share, shown in per cent; else a plain number."""


FIGURES: tuple[Figure, ...] = (
    Figure("told", "requests that got a story", "more"),
    Figure("words_raw", "all words used, raw draft", "more"),
    Figure("words_final", "all words used, finished", "more"),
    Figure("level_above", "words above the level", "less"),
    Figure("level_within", "stories within the level", "more"),
    Figure("genre", "genre recognised", "more"),
    Figure("title", "title fits (cosine)", "people", share=False),
    Figure("ends_raw", "ends properly, raw draft", "more"),
    Figure("ends_final", "ends properly, finished", "more"),
    Figure("pronouns", "he and she fit the names", "more"),
    Figure("fleeting", "names that come only once", "less"),
    Figure("tense", "tense follows time words", "more"),
    Figure("opens", "opening needs no story before", "more"),
    Figure("order_wins", "true order beats shuffled", "more"),
    Figure("order_gain", "gain of true order (nats/token)", "more", share=False),
    Figure("continuity", "sentences that go on", "more"),
    Figure("neighbours", "nearness of neighbours (cosine)", "people", share=False),
    Figure("learned", "learned score", "more", share=False),
    Figure("repeats", "stories repeating a 4-gram", "less"),
    Figure("distinct_1", "distinct-1", "people"),
    Figure("distinct_2", "distinct-2", "people"),
    Figure("distinct_3", "distinct-3", "people"),
    Figure("copied", "8-grams copied from training", "less"),
    Figure("copied_longest", "longest copied run (words)", "less", share=False),
    Figure("sentences", "sentences a story", "people", share=False),
    Figure("sentence_words", "words a sentence", "people", share=False),
    Figure("unsuitable_raw", "on the blocklist, raw draft", "less"),
    Figure("unsuitable_final", "on the blocklist, finished", "less"),
)


@dataclass
class Tools:
    """What some figures need; a figure whose tool is None has no value."""

    embedder: Embedder | None = None
    genres: GenreClassifier | None = None
    judge: Judge | None = None
    learned: LearnedScore | None = None


def bits_figure(source: str) -> Figure:
    """Return the row of a source's held-out bits per byte."""
    return Figure(BITS + source, f"bits per byte, {source}", "less", share=False)


def measure(
    stories: Sequence[Story], drafts: Sequence[Story], copies: Sequence[Copied], tools: Tools
) -> dict[str, Measured]:
    """Return the figures of finished stories and of raw drafts; people's stories are both.

    `copies` belong to the stories, in the same order.
    """
    figures = {
        **_of_text(stories, drafts),
        **_of_people(stories),
        **_of_meaning(stories, tools),
        "copied": mean(copy.share for copy in copies),
    }
    if copies:
        figures["copied_longest"] = Measured(float(max(copy.longest for copy in copies)), len(copies))
    if tools.judge is not None:
        orders = tools.judge.orders(stories)
        figures["order_wins"] = mean(order.wins if order else None for order in orders)
        figures["order_gain"] = mean(order.gain if order else None for order in orders)
    if tools.learned is not None:
        figures["learned"] = mean(tools.learned(stories))
    return figures


def _of_text(stories: Sequence[Story], drafts: Sequence[Story]) -> dict[str, Measured]:
    texts = [story.text for story in stories]
    figures = {
        "words_raw": mean(metrics.all_words_used(s.words, s.text) for s in drafts),
        "words_final": mean(metrics.all_words_used(s.words, s.text) for s in stories),
        "level_above": mean(metrics.share_above(s.text, s.level) for s in stories),
        "level_within": mean(metrics.within_level(s.text, s.level) for s in stories),
        "ends_raw": mean(metrics.ends_well(s.text, s.finished) for s in drafts),
        "ends_final": mean(metrics.ends_well(s.text, s.finished) for s in stories),
        "repeats": mean(map(metrics.repeats_ngram, texts)),
        "sentences": mean(map(metrics.sentence_count, texts)),
        "sentence_words": mean(map(metrics.words_per_sentence, texts)),
        "unsuitable_raw": mean(metrics.is_unsuitable(s.title, s.text) for s in drafts),
        "unsuitable_final": mean(metrics.is_unsuitable(s.title, s.text) for s in stories),
    }
    for n in (1, 2, 3):
        figures[f"distinct_{n}"] = Measured(metrics.distinct(texts, n), len(texts))
    return figures


def _of_people(stories: Sequence[Story]) -> dict[str, Measured]:
    texts = [story.text for story in stories]
    return {
        "pronouns": mean(map(people.pronouns_agree, texts)),
        "fleeting": mean(map(people.fleeting_names, texts)),
        "tense": mean(kept for text in texts for kept in tense.time_words_followed(text)),
        "opens": mean(map(coherence.opens_well, texts)),
        "continuity": mean(map(coherence.continuity, texts)),
    }


def _of_meaning(stories: Sequence[Story], tools: Tools) -> dict[str, Measured]:
    if tools.embedder is None:
        return {}
    texts = tools.embedder.encode([story.text for story in stories])
    titles = tools.embedder.encode([story.title for story in stories])
    fits = [float(a @ b) if s.title else None for s, a, b in zip(stories, texts, titles, strict=True)]
    figures = {"title": mean(fits), "genre": NOTHING}
    if tools.genres is not None:
        found = tools.genres.predict(texts)
        figures["genre"] = mean(
            float(genre is story.genre) if story.genre else None
            for story, (genre, _) in zip(stories, found, strict=True)
        )
    parts = [metrics.sentences_of(story.text) for story in stories]
    vectors = tools.embedder.encode([part for found in parts for part in found])
    rows, start = [], 0
    for found_parts in parts:
        rows.append(vectors[start : start + len(found_parts)])
        start += len(found_parts)
    figures["neighbours"] = mean(map(coherence.neighbours, rows))
    return figures
