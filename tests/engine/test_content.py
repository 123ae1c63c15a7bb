"""The content filter: disguises, modes, and its figures. Run: pytest tests/engine/test_content.py"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from engine.bench import content as bench
from engine.content import ContentFilter

CONTENT = ContentFilter()
STORY = "Tom, a {}, went home. His mother made dinner, and they ate it under the old tree. "


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    return bench.content_figures()


@pytest.mark.parametrize("mode", ["normal", "strict"])
def test_hits_and_false_alarms_on_the_labelled_set(figures: dict[str, Any], mode: str) -> None:
    whole = figures[mode]["all"]
    assert whole["unsuitable"] >= 200
    assert whole["suitable"] >= 500
    assert whole["hit_rate"] >= 0.93
    assert whole["false_alarm_rate"] <= 0.01
    assert figures[mode]["words"]["hit_rate"] >= 0.98


@pytest.mark.parametrize("language", ["en", "ru", "zh"])
def test_every_language_is_covered(figures: dict[str, Any], language: str) -> None:
    assert figures["normal"][language]["hit_rate"] >= 0.9
    assert figures["strict"][language]["false_alarm_rate"] <= 0.02


@pytest.mark.parametrize(
    "disguise",
    [
        "sh1t",
        "SH!T",
        "s*it",
        "s--t",
        "s h i t",
        "S.H.I.T",
        "shiiit",
        "shít",
        "ｓｈｉｔ",
        "ѕhit",
        "s\u200bhit",
        "$hit",
    ],
)
def test_disguises_are_seen_through(disguise: str) -> None:
    assert CONTENT.check_words([disguise], strict=False) == disguise
    assert CONTENT.check_text(STORY.format(disguise), strict=False) == disguise


@pytest.mark.parametrize(
    "innocent",
    ["class", "cocktail", "Dick", "bass", "grape", "therapist", "Scunthorpe", "A55", "R2-D2", "*cat*"],
)
def test_words_that_hold_a_bad_word_are_suitable(innocent: str) -> None:
    assert CONTENT.check_text(STORY.format(innocent), strict=True) is None


def test_the_place_found_is_the_text_as_it_stands() -> None:
    text = "“Ça va?” — «FÜCKing» rain"
    found = CONTENT.find(text, strict=False)
    assert found is not None
    assert text[found.start : found.end] == found.form == "FÜCKing"
    assert found.term.category == "profanity"


def test_the_first_unsuitable_word_comes_back_as_it_was_asked_for() -> None:
    assert CONTENT.check_words(["dinner", "Porn ", "shit"], strict=False) == "Porn "
    assert CONTENT.check_words(["dinner", "Tom"], strict=True) is None


def test_groups_are_stricter() -> None:
    assert CONTENT.check_words(["cocaine"], strict=False) is None
    assert CONTENT.check_words(["cocaine"], strict=True) == "cocaine"


def test_inflections_count() -> None:
    assert CONTENT.check_text("He was beheaded.", strict=False) == "beheaded"
    assert CONTENT.check_text("She had killed herself.", strict=False) == "killed herself"


def test_a_phrase_does_not_run_over_the_end_of_a_sentence() -> None:
    assert CONTENT.check_text("He had no wish to kill. Himself he shaved daily.", strict=False) is None


def test_excused_phrases_do_not_excuse_the_rest() -> None:
    assert CONTENT.check_text("He shot himself in the foot.", strict=False) is None
    assert (
        CONTENT.check_text("He shot himself in the foot. Then he shot himself.", strict=False)
        == "shot himself"
    )


@given(st.text(max_size=120), st.booleans())
def test_any_text_is_judged_and_the_place_is_a_slice(text: str, strict: bool) -> None:
    found = CONTENT.find(text, strict)
    assert found is None or text[found.start : found.end] == found.form


@given(st.text(max_size=30), st.sampled_from(["fuck", "шлюха", "强奸", "kill yourself"]))
def test_an_unsuitable_word_is_found_between_any_words(around: str, word: str) -> None:
    assert CONTENT.check_text(f"{around}. {word}. {around}", strict=False) is not None


def test_the_bench_prints_figures_and_misses() -> None:
    app = typer.Typer()
    app.command()(bench.content)
    plain = CliRunner().invoke(app)
    assert plain.exit_code == 0
    assert "false alarms" in plain.output
    figures = json.loads(CliRunner().invoke(app, ["--json"]).output)
    assert set(figures) == {"normal", "strict"}


def test_the_bench_says_when_the_set_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bench, "LABELS", tmp_path / "none.jsonl")
    app = typer.Typer()
    app.command()(bench.content)
    assert CliRunner().invoke(app).exit_code == 1
