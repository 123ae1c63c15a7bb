"""The choice among drafts: words first, then a proper end, level, repetition, crowding, fluency."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.jobs import RowResult
from engine.prompts import Codec, family_for
from engine.schema import Level, StoryRequest
from engine.scoring import Draft, best_of, complete, draft_of, repeated_share, title_of, worn_share
from tests import tiny_model

CODEC = Codec(tiny_model.tokenizer())
GOOD = "The old dog ran to the door and looked at the sea. Then it went home and had dinner with Tom."


def draft(text: str, logprob: float = -40.0, **request: Any) -> Draft:
    ids = [*CODEC.plain(" " + text), CODEC.control("<eos>")]
    asked = StoryRequest(title="A title", **request)
    row = RowResult(0, ids, logprob=logprob)
    return draft_of(row, ids, asked, family_for("storyteller"), CODEC)


def better(first: str, second: str, **request: Any) -> bool:
    return draft(first, **request).score > draft(second, **request).score


def test_a_missing_word_outweighs_everything() -> None:
    bad = "dog dog the the sea the sea the sea the sea the sea"
    assert better(bad, GOOD.replace("dog", "cat").replace("sea", "rain"), words=["dog", "sea"])
    assert draft(GOOD, words=["dog", "umbrella"]).missed == ["umbrella"]


def test_a_proper_end_is_better_than_none() -> None:
    assert better(GOOD, GOOD.replace(".", ""))
    assert better(GOOD, GOOD + " Then the")


def test_repetition_is_worse() -> None:
    assert better(GOOD, "The old dog ran to the sea. " * 4)
    assert better(GOOD, GOOD.replace("the sea", "the the sea"))


LONG = (
    "Anna lived in a small house near the lake. One morning she found a map in her old coat. She put on her "
    "shoes and walked to the lake. There was a boat under the trees, and in the boat lay a letter. Her uncle "
    "had written it ten years ago. He wished her luck, and he told her where his best fishing place was."
)


def test_four_words_said_twice_outweigh_a_little_fluency() -> None:
    again = LONG.replace("lay a letter", "lay a map in her old hat")
    ids = len(CODEC.plain(" " + LONG)) + 1
    assert repeated_share(LONG) == 0
    assert 0 < repeated_share(again) < 0.04
    assert draft(LONG, logprob=-1.3 * ids).score > draft(again, logprob=-1.2 * ids).score
    assert draft(LONG, logprob=-2.0 * ids).score < draft(again, logprob=-1.2 * ids).score


def test_a_list_of_the_words_is_worse() -> None:
    words = ["dog", "sea", "dinner"]
    assert better(
        GOOD, "He saw a dog, sea, dinner and then he went home to his old little house again.", words=words
    )


def test_the_level_is_kept() -> None:
    hard = "The parliament deliberated whether the constitutional amendment contradicted its jurisdiction."
    assert better(GOOD, hard, level=Level.A1)


def test_sentences_too_long_for_the_level_are_worse() -> None:
    short = GOOD.replace(" and looked", ". It looked").replace(" and had", ". It had")
    long = GOOD.replace(". Then it", " and then it")
    assert better(short, long, level=Level.A1)
    assert draft(long, level=Level.A1).score < draft(long, level=Level.B1).score


def test_fluency_decides_between_equals() -> None:
    assert draft(GOOD, logprob=-20).score > draft(GOOD, logprob=-60).score


def test_the_first_of_equals_is_best() -> None:
    drafts = [draft(GOOD), draft(GOOD), draft("No.")]
    assert best_of(drafts) is drafts[0]


def test_a_length_kept_is_better() -> None:
    assert better(
        GOOD, " ".join([GOOD.replace("Tom", name) for name in ("Anna", "him", "her", "us")]), length="short"
    )
    assert better(GOOD, "They ran.")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Tom ran. He fell", ("Tom ran.", True)),
        ("Tom ran,", ("Tom ran.", False)),
        ("Tom\ufffd ran.", ("Tom ran.", True)),
        ("", ("", False)),
    ],
)
def test_texts_are_made_complete(text: str, kept: tuple[str, bool]) -> None:
    assert complete(text) == kept


def test_an_opening_is_never_cut() -> None:
    opening = "One day. Then Tom"
    assert complete(opening + " ran", len(opening)) == ("One day. Then Tom ran.", False)


def test_titles() -> None:
    assert title_of(" The  Red\nDoor. ", "x") == "The Red Door"
    assert title_of("?!", "Tom ran home to his dog.") == "Tom ran home to his"
    assert title_of("", "") == "A story"
    assert len(title_of("word " * 100, "x")) <= 120


def test_repeated_share() -> None:
    assert repeated_share("one two three four five") == 0
    assert repeated_share("a b c d a b c d") == pytest.approx(1 / 5)
    assert repeated_share("") == 0


WORN = (
    "The cake said that it would make the cake, and the cake would not be eaten. "
    "The cake went on, and the cake had to be eaten before the cake was empty."
)
FRESH = (
    "Paul put bread in the oven and read a book. His neighbour knocked, and they ate it together with honey."
)


def test_a_word_used_again_and_again_costs() -> None:
    assert worn_share(WORN) > 0.1
    assert worn_share(FRESH) == 0


def test_names_and_short_words_may_come_as_often_as_they_like() -> None:
    assert worn_share("Maria and Maria saw Maria, and she and she and she saw her.") == 0


@given(st.text(max_size=300))
def test_shares_are_shares_of_any_text(text: str) -> None:
    assert 0 <= worn_share(text) <= 1
    assert 0 <= repeated_share(text) <= 1
