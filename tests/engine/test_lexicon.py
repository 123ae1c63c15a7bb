"""Forms, lemmas and names. Run: pytest tests/engine/test_lexicon.py"""

from __future__ import annotations

import subprocess
import sys

import pytest

from engine.lexicon import forms, is_name, lemma, lookup


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("child", {"children"}),
        ("run", {"runs", "ran", "running"}),
        ("good", {"better", "best"}),
        ("happy", {"happier", "happiest"}),
        ("be", {"am", "is", "are", "was", "were", "been", "being"}),
        ("lie", {"lay", "lied", "lain", "lying"}),
        ("learn", {"learned", "learnt"}),
        ("get", {"got", "gotten"}),
        ("ox", {"oxen"}),
        ("leaf", {"leaves"}),
        ("mouse", {"mice"}),
        ("children", {"child"}),
        ("ran", {"run", "running"}),
        ("found", {"find", "finds"}),
        ("selfie", {"selfies"}),
        ("a", {"an"}),
    ],
)
def test_every_inflection_counts(word: str, expected: set[str]) -> None:
    assert forms(word)[0] == word
    assert expected <= set(forms(word))


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("colour", {"color", "colors", "colored", "colours"}),
        ("gray", {"grey"}),
        ("realise", {"realized", "realises"}),
        ("organize", {"organised"}),
        ("travel", {"travelled", "traveled"}),
        ("e-mail", {"email"}),
        ("mum", {"mom"}),
    ],
)
def test_both_spellings_count(word: str, expected: set[str]) -> None:
    assert expected <= set(forms(word))


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("look after", {"looks after", "looked after", "looking after"}),
        ("look after sb", {"look after", "looked after"}),
        ("take a photo", {"took a photo", "taking a photo"}),
        ("fall in love", {"fell in love"}),
        ("have dinner", {"had dinner"}),
        ("be afraid of", {"was afraid of"}),
        ("good at", {"better at"}),
        ("ice cream", {"ice creams"}),
        ("fire engine", {"fire engines"}),
        ("mother-in-law", {"mothers-in-law"}),
        ("cup of tea", {"cups of tea"}),
        ("to run", {"run", "ran"}),
        ("a dog", {"dog", "dogs"}),
    ],
)
def test_phrases_are_inflected_at_their_head(phrase: str, expected: set[str]) -> None:
    assert expected <= set(forms(phrase))


def test_a_phrase_is_inflected_nowhere_else() -> None:
    assert "look afters" not in forms("look after")
    assert "ices cream" not in forms("ice cream")
    assert forms("of course") == ("of course",)


@pytest.mark.parametrize(
    "word",
    [
        "Tom",
        "Anna",
        "Maya",
        "London",
        "New York",
        "Zogg",
        "McDonald",
        "Will",
        "Harry Potter",
        "Анна",
        "Jean-Paul",
    ],
)
def test_names_are_exactly_themselves(word: str) -> None:
    assert is_name(word)
    assert forms(word) == (word,)


@pytest.mark.parametrize(
    "word", ["Dinner", "Rose", "Dragon", "DINNER", "Monday", "English", "I", "tom", "TV", "", "🙂"]
)
def test_common_words_are_no_names(word: str) -> None:
    assert not is_name(word)


@pytest.mark.parametrize("word", ["猫", "дом", "سلام", "🎉", "👩‍👩‍👧", "42", "c++", ""])
def test_other_scripts_are_kept_as_given(word: str) -> None:
    assert forms(word) == (word,)


def test_a_capital_typed_at_random_changes_nothing() -> None:
    assert set(forms("Dinner")) == {"Dinner", "dinner", "dinners"}
    assert lemma("Dinner") == "dinner"


def test_days_keep_their_capital() -> None:
    assert forms("monday") == ("monday", "Monday", "Mondays")
    assert lemma("monday") == "Monday"


@pytest.mark.parametrize(
    ("word", "expected"),
    [("children", "child"), ("went", "go"), ("felt", "feel"), ("Tom", "Tom"), ("building", "building")],
)
def test_lemma(word: str, expected: str) -> None:
    assert lemma(word) == expected


def test_lookup_answers_in_order() -> None:
    tom, dinners = lookup(["Tom", "dinners"])
    assert (tom.is_name, tom.level, tom.forms) == (True, None, ["Tom"])
    assert (dinners.lemma, dinners.level, dinners.is_name) == ("dinner", "A1", False)
    assert dinners.forms[0] == "dinners"


def test_importing_the_lexicon_loads_no_dictionary() -> None:
    code = "import sys, engine.lexicon; print(sorted({'lemminflect', 'cefrpy', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
