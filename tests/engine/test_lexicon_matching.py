"""Where words stand in a text. Run: pytest tests/engine/test_lexicon_matching.py"""

from __future__ import annotations

import unicodedata

import pytest
import regex
from hypothesis import assume, given
from hypothesis import strategies as st

from engine.lexicon import forms, match, used_words


def found(words: list[str], text: str) -> list[str]:
    return [span.form for span in match(words, text)]


@pytest.mark.parametrize(
    ("word", "text", "expected"),
    [
        ("dinner", "Two Dinners, one dinner.", ["Dinners", "dinner"]),
        ("child", "The children saw a child.", ["children", "child"]),
        ("look after", "She looked  after him, looking\nafter all.", ["looked  after", "looking\nafter"]),
        ("look after", "She looked him after.", []),
        ("ice cream", "An ice-cream and two ice creams", ["ice-cream", "ice creams"]),
        ("ice-cream", "ice cream", ["ice cream"]),
        ("art", "The party started; art is art's own.", ["art", "art"]),
        ("clock", "At five o'clock the clock rang", ["clock"]),
        ("win", "I won't go, but I won.", ["won"]),
        ("don", "I don’t know.", []),
        ("Tom", "Tom's dog saw tom, Tomas and TOM.", ["Tom", "TOM"]),
        ("tom", "Tom and tom", ["Tom", "tom"]),
        ("Will", "Will would go, but he will not.", ["Will"]),
        ("Rose", "A rose for Rose, two roses", ["rose", "Rose", "roses"]),
        ("don't", "Don’t go, don't!", ["Don’t", "don't"]),
        ("café", unicodedata.normalize("NFD", "Café Noir"), [unicodedata.normalize("NFD", "Café")]),
        ("猫", "黑猫在家。", ["猫"]),
        ("cat", "我的cat很好", ["cat"]),
        ("سلام", "قال سلام للجميع", ["سلام"]),
        ("дом", "Дом стоит, домик нет", ["Дом"]),
        ("👧", "👩‍👩‍👧 and 👧", ["👧"]),
        ("🇫🇷", "🇫🇷🇩🇪", ["🇫🇷"]),
        ("c++", "I like C++.", ["C++"]),
        ("US", "US and us", ["US"]),
        ("run", "run-down runner", ["run"]),
        ("well", "a well-known well", ["well", "well"]),
    ],
)
def test_whole_words_in_any_form(word: str, text: str, expected: list[str]) -> None:
    assert found([word], text) == expected


def test_spans_point_into_the_original_text() -> None:
    text = "«Cafe\u0301» said\u00ad Tom\u200b, and Tom’s dog"
    spans = match(["Tom", "café"], text)
    assert [text[span.start : span.end] for span in spans] == ["Cafe\u0301", "Tom", "Tom"]
    assert [span.word for span in spans] == ["café", "Tom", "Tom"]


def test_spans_are_sorted_and_words_counted_once() -> None:
    spans = match(["dog", "cat", "dog"], "A cat, a dog, a cat.")
    assert [(span.word, span.start) for span in spans] == [("cat", 2), ("dog", 9), ("cat", 16)]


def test_used_and_missed_keep_the_order_given() -> None:
    assert used_words(["Tom", "dinner", "robot", "Tom"], "Robots ate dinner") == (
        ["dinner", "robot"],
        ["Tom"],
    )


def test_a_phrase_and_its_part_both_count() -> None:
    assert used_words(["ice", "ice cream"], "We ate ice cream.") == (["ice", "ice cream"], [])


words_in_use = st.sampled_from(
    [
        "child",
        "run",
        "colour",
        "look after",
        "ice cream",
        "Tom",
        "happy",
        "be",
        "mother-in-law",
        "猫",
        "👩‍👩‍👧",
        "дом",
    ]
)


@given(words_in_use.flatmap(lambda word: st.tuples(st.just(word), st.sampled_from(forms(word)))))
def test_any_form_is_found_in_a_sentence(pair: tuple[str, str]) -> None:
    word, form = pair
    text = f"Then, she said “{form}” again."
    assert form in found([word], text)


@given(st.text(max_size=40))
def test_every_word_is_the_first_of_its_forms(word: str) -> None:
    assert forms(word)[0] == word


@given(st.text(st.characters(categories=["L", "N", "P", "S", "M"]), min_size=1, max_size=12))
def test_any_visible_word_is_found_where_it_stands_alone(word: str) -> None:
    text = f"- {word} -"
    edges = {piece.start() for piece in regex.finditer(r"\X", text)}
    assume(any(char.isalnum() for char in word) and {2, 2 + len(word)} <= edges)
    assert match([word], text)


@given(st.lists(st.text(min_size=1, max_size=6), max_size=4), st.text(max_size=80))
def test_spans_are_slices_and_never_split_a_grapheme(words: list[str], text: str) -> None:
    edges = {0, len(text)} | {piece.start() for piece in regex.finditer(r"\X", text)}
    for span in match([*words, *text[:12:3]], text):
        assert span.form == text[span.start : span.end] != ""
        assert {span.start, span.end} <= edges
