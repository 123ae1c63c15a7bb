"""The scorecard's figures on texts whose values are known, and on any text at all."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.schema import Level
from training.scorecard import coherence, metrics, people, tense
from training.scorecard.copying import copied
from training.scorecard.result import Row, Value, compare
from training.scorecard.stories import Measured, Story, mean, spoilt

TOM = "Tom lost his key. He looked for the key in bed. A bird had taken the key. Tom laughed at the bird."
ANY_TEXT = st.text(max_size=300) | st.lists(
    st.sampled_from(
        ["Tom", "Anna", "he", "she", "went", "tomorrow", "yesterday", ".", '"', "!", "’s", "key"]
    ),
    max_size=40,
).map(" ".join)


def test_words_and_level() -> None:
    assert metrics.all_words_used(["key", "bird"], TOM) == 1
    assert metrics.all_words_used(["key", "ladder"], TOM) == 0
    assert metrics.all_words_used([], TOM) is None
    assert metrics.share_above("The cat sat.", Level.A1) == 0
    assert metrics.share_above("Simultaneous bureaucracy.", Level.A1) == 1
    assert metrics.within_level("I have a dog.", Level.A1) == 1
    assert metrics.within_level("Simultaneous bureaucracy exacerbated deprivation.", Level.A1) == 0


def test_variety_and_repetition() -> None:
    assert metrics.distinct(["a b a b"], 1) == 0.5
    assert metrics.distinct(["a b a b"], 2) == pytest.approx(2 / 3)
    # Blocks are averaged, so the same block twice has the same value as one.
    assert metrics.distinct(["a b"] * 4, 1, block=4) == 0.5
    assert metrics.repeats_ngram("one two three four, one two three four") == 1
    assert metrics.repeats_ngram("one two three four five") == 0
    assert metrics.sentence_count(TOM) == 4
    assert metrics.sentence_count('"Stop! Go!" said Mr. Lee. He left.') == 2
    assert metrics.words_per_sentence("One two. One two three four.") == 3
    assert metrics.ends_well("It was late.") == 1
    assert metrics.ends_well("It was") == 0
    assert metrics.ends_well("It was late.", finished=False) == 0
    assert metrics.is_unsuitable("A shit day", "It rained.") == 1
    assert metrics.is_unsuitable("A day", "It rained.") == 0


def test_copied_runs_are_counted_in_words_and_by_the_word() -> None:
    source = "the old man walked down to the river every morning before the sun was up"
    story = "Anna said that the old man walked down to the river every morning. She smiled."
    (found,) = copied([story], ["nothing here", source.title()])
    assert found.longest == 10
    assert found.found == 3
    assert found.share == pytest.approx(3 / 8)
    assert [row.share for row in copied(["too short", story], [])] == [None, 0.0]
    assert copied([source], [source])[0].share == 1


def test_people_keep_their_pronouns() -> None:
    assert people.pronouns_agree("Tom was late. He ran.") == 1
    assert people.pronouns_agree("Tom was late. She ran.") == 0
    assert people.pronouns_agree("Tom met his mother. She ran.") is None
    assert people.pronouns_agree("Alex was late. She ran.") is None
    assert people.pronouns_agree("Tom was late.") is None
    names = "Tom sat. Anna came. Tom left. Kofi slept."
    assert people.fleeting_names(names) == pytest.approx(2 / 3)
    assert people.fleeting_names("Tom sat. Tom left.") is None


@pytest.mark.parametrize(
    ("sentence", "values"),
    [
        ("Yesterday she went home.", [1]),
        ("Yesterday she goes home.", [0]),
        ("Two days ago he was ill.", [1]),
        ("Tomorrow he will swim.", [1]),
        ("Tomorrow he walked to school.", [0]),
        ("He wanted to leave tomorrow.", [1]),
        ("They are leaving tomorrow.", [1]),
        ('"Come tomorrow," she said.', [1]),
        ("It rained.", []),
    ],
)
def test_tense_follows_time_words(sentence: str, values: list[float]) -> None:
    assert list(tense.time_words_followed(sentence)) == values


def test_sentences_that_go_on() -> None:
    assert coherence.continuity(TOM) == 1
    assert coherence.continuity("Tom sat. Rain fell. Bread burns. Ships sank.") == 0
    assert coherence.continuity("Tom sat. He slept.") is None
    assert coherence.opens_well("She was gone. Anna cried.") == 0
    assert coherence.opens_well("Anna lost her dog.") == 1
    straight = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], dtype=np.float32)
    crossed = straight[[0, 2, 1, 3]]
    assert coherence.neighbours(straight) == pytest.approx(2 / 3)
    assert coherence.neighbours(crossed) == 0


def test_means_and_verdicts() -> None:
    assert mean([None]) == Measured(None)
    assert mean([1.0, None, 0.0]).value == 0.5
    # Wilson's interval of 0 of 200 is not nothing.
    assert mean([0.0] * 200).error == pytest.approx(0.0094, abs=1e-4)
    row = Row(key="x", title="x", better="less", share=True)
    low, high = Value(value=0.1, count=20, error=0.01), Value(value=0.5, count=20, error=0.01)
    assert compare(row, low, high) == "better"
    assert compare(row, high, low) == "worse"
    assert compare(row, low, Value(value=0.105, count=20, error=0.01)) == "same"
    assert compare(row, low, Value(value=None)) == "unknown"
    assert compare(row, low, high.model_copy(update={"count": 2})) == "unknown"


def test_spoilt_stories_are_the_same_every_time() -> None:
    stories = [Story("T", TOM), Story("U", TOM.replace("key", "hat").replace("Tom", "Anna"))]
    for way in ("shuffled", "foreign_sentence", "spliced", "names", "repeated", "words"):
        first = spoilt(stories, way)
        assert first == spoilt(stories, way)
        assert all(a.text not in {b.text for b in stories} for a in first)


@settings(max_examples=150, deadline=None)
@given(text=ANY_TEXT, level=st.sampled_from(list(Level)))
def test_any_text_gives_values_within_their_ranges(text: str, level: Level) -> None:
    shares = [
        metrics.share_above(text, level),
        metrics.within_level(text, level),
        metrics.repeats_ngram(text),
        metrics.ends_well(text),
        metrics.is_unsuitable(text, text),
        metrics.all_words_used(["key"], text),
        people.pronouns_agree(text),
        people.fleeting_names(text),
        coherence.continuity(text),
        coherence.opens_well(text),
        *(metrics.distinct([text], n) for n in (1, 2, 3)),
        *tense.time_words_followed(text),
        copied([text], [text[::-1], text])[0].share,
    ]
    assert all(share is None or 0 <= share <= 1 for share in shares)
    assert metrics.sentence_count(text) >= 0
    assert (metrics.words_per_sentence(text) or 1) >= 1


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), start=st.integers(0, 20), length=st.integers(8, 20))
def test_a_copied_run_is_found_wherever_it_stands(seed: int, start: int, length: int) -> None:
    chance = random.Random(seed)
    source = [f"w{chance.randrange(10_000)}" for _ in range(60)]
    story = ["begin", *source[start : start + length], "end"]
    (found,) = copied([" ".join(story)], [" ".join(source)])
    assert found.longest == length
    assert found.found == length - 7
