"""Words above the level are made less likely where they are decided; words at the level never are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from engine.level_bias import STRENGTH, LevelKeeper, LevelPlan
from engine.lexicon import graded_words
from engine.lexicon.levels import running_level
from engine.prompts import Codec
from engine.schema import Level
from engine.vocabulary import Vocabulary

MODEL = Path(__file__).parents[2] / "engine" / "models" / "storyteller"


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec.from_directory(MODEL)


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary.from_directory(MODEL)


@pytest.fixture
def cost(codec: Codec, vocabulary: Vocabulary):  # type: ignore[no-untyped-def]
    def of(text: str, level: Level = Level.A2, words: tuple[str, ...] = (), opening: str = "") -> float:
        """Return how many nats the tokens of `text` lose in all."""
        keeper = LevelKeeper(LevelPlan.of(level, vocabulary, codec.plain_batch, words, opening))
        total = 0.0
        for token in codec.plain(text):
            total -= float(keeper.dense.whole()[token])
            keeper.observe(token)
        return total

    return of


def test_every_graded_word_is_free_at_its_level(codec: Codec, vocabulary: Vocabulary) -> None:
    words = dict(list(graded_words().items())[::97])
    for level in Level:
        plan = LevelPlan.of(level, vocabulary, codec.plain_batch, ())
        for word, number in words.items():
            if number <= plan.level:
                keeper = LevelKeeper(plan)
                for token in codec.plain(f" {word}"):
                    assert keeper.dense.whole()[token] == 0, (word, level)
                    keeper.observe(token)


def test_a_graded_word_has_the_level_that_the_report_gives_it() -> None:
    for word, number in list(graded_words().items())[7::1500]:
        if word not in ("can", "won"):
            assert running_level(word) in (number, None), word


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (" The magistrate left.", 1),
        (" He whispered to the magistrate.", 2),
        (" He didn't go home, and he couldn't sleep.", 0),
        (" Then Zanzibar and Magda met Mr. Whisperwood.", 0),
        (" They had 12 dogs - and a cat!", 0),
        (" The government and the governor.", 0),
    ],
)
def test_a_word_above_the_level_costs_once(cost, text: str, words: int) -> None:  # type: ignore[no-untyped-def]
    level = Level.B2 if "govern" in text else Level.A2
    assert cost(text, level) == words * STRENGTH


def test_what_was_asked_for_or_given_is_free(cost) -> None:  # type: ignore[no-untyped-def]
    text = " The magistrates whispered about a tapestry."
    assert cost(text, Level.A1, ("magistrate", "whisper"), "A tapestry") == 0
    assert cost(text, Level.A1, ("magistrate",)) == 2 * STRENGTH


def test_levels_are_in_order(codec: Codec, vocabulary: Vocabulary) -> None:
    each = [LevelPlan.of(level, vocabulary, codec.plain_batch, ()).between.whole() for level in Level]
    free = [np.count_nonzero(bias == 0) for bias in each]
    assert free == sorted(free)
    assert free[0] < free[-1]
    assert all(bias[codec.plain(" dog")[0]] == 0 for bias in each)


def test_versions_of_a_model_encode_the_graded_words_once(codec: Codec, vocabulary: Vocabulary) -> None:
    # Memory grew by 9 MB with every swap: the tokenizer keeps the words it has seen for good.
    LevelPlan.of(Level.A2, vocabulary, codec.plain_batch, ())
    asked: list[int] = []

    def encode(words: Sequence[str]) -> list[list[int]]:
        asked.append(len(words))
        return codec.plain_batch(words)

    LevelPlan.of(Level.A2, Vocabulary.from_directory(MODEL), encode, ("dinner",))
    assert max(asked) < 10


def test_a_fork_goes_its_own_way(codec: Codec, vocabulary: Vocabulary) -> None:
    keeper = LevelKeeper(LevelPlan.of(Level.A2, vocabulary, codec.plain_batch, ()))
    first, *_ = codec.plain(" magistrate")
    twin = keeper.fork()
    twin.observe(first)
    assert keeper.dense is not twin.dense
    assert (keeper.dense.whole() == LevelKeeper(keeper._plan).dense.whole()).all()
