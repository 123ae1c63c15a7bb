"""CEFR levels of words and texts. Run: pytest tests/engine/test_lexicon_levels.py"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.lexicon import level, level_report
from engine.schema import Level

EASY = "Tom has a dog. The dog is big. They go to the park. It is a good day."
B1 = (
    "Two rival crews had been accusing each other of stealing their nets, and Wei, the captain of the "
    "smaller boat, decided to pay attention instead of shouting. She noticed that every net vanished at the "
    "same point in the cycle of the tide, and she sat on deck all night with a lamp."
)
HARD = (
    "The magistrate's meticulous deliberations, punctuated by lugubrious soliloquies and an ostentatious "
    "disdain for precedent, culminated in an acquittal whose ramifications reverberated through the "
    "beleaguered municipality, undermining whatever vestigial confidence the citizenry still harboured."
)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("dinner", "A1"),
        ("children", "A1"),
        ("goodbye", "A1"),
        ("robots", "A2"),
        ("whispered", "B1"),
        ("don't", "A1"),
        ("o'clock", "A1"),
        ("hadn’t", "A1"),
        ("Tom", None),
        ("tom", None),
        ("猫", None),
        ("zxqv", None),
        ("look after sb", "A1"),
        ("meticulous", "C2"),
        ("", None),
    ],
)
def test_level_of_a_word(word: str, expected: str | None) -> None:
    assert level(word) == expected


def test_texts_are_measured_in_order() -> None:
    assert level_report(EASY, None).measured is Level.A1
    assert level_report(B1, None).measured in {Level.B1, Level.B2}
    assert level_report(HARD, None).measured is Level.B2


def test_hard_words_stand_above_the_band_asked_in_text_order() -> None:
    report = level_report("The robot whispered. A patient tortoise meticulously whispers to Tom.", Level.A2)
    assert [(hard.word, hard.lemma, hard.level) for hard in report.hard_words] == [
        ("whispered", "whisper", "B1"),
        ("meticulously", "meticulously", report.hard_words[-1].level),
    ]
    assert 0 < report.share_above < 1


def test_at_most_five_hard_words() -> None:
    assert len(level_report(HARD, Level.A1).hard_words) == 5


def test_a_text_without_known_words_is_easy() -> None:
    assert level_report("你好。 Zogg 42", Level.B1).share_above == 0.0
    assert level_report("", None).measured is Level.A1


@given(st.text(max_size=200), st.sampled_from([None, *Level]))
def test_any_text_is_measured(text: str, asked: Level | None) -> None:
    report = level_report(text, asked)
    assert report.asked is asked
    assert all(hard.word in text.lower() for hard in report.hard_words)


def test_a_word_behind_the_last_of_the_longest_has_no_level() -> None:
    """cefrpy's binary search leaves its table there: seen as an IndexError in a model's gibberish."""
    assert level("yihidztfljcffiqfviuwjowkp") is None
    assert level_report("He said yihidztfljcffiqfviuwjowkp to us.", None).share_above == 0
