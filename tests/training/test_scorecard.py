"""The scorecard through its command, with a tiny model and corpus; the frozen suite; the judge of order."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engine.registry import SHIPPED
from engine.schema import Level
from tests.tiny_model import build
from training.cli import app
from training.data.documents import Document
from training.data.prepare import prepare
from training.scorecard.judge import Judge
from training.scorecard.result import Scorecard
from training.scorecard.stories import mean, spoilt, written
from training.scorecard.suite import REQUESTS, SUITE_SHA256, read_suite, reserved_words, suite_hash, word_set

OWN_STORIES = Path("training/corpus/wordtale_stories/stories.jsonl.gz")


@pytest.fixture(scope="module")
def folder(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("scorecard")
    prepare(corpus, made / "data", lambda line: None)
    return made


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    made = tmp_path_factory.mktemp("models")
    return build(made / "first"), build(made / "second", seed=3, version="tiny-2")


def test_the_suite_never_changes_and_training_has_none_of_its_words() -> None:
    requests = read_suite()
    assert suite_hash() == SUITE_SHA256
    assert len(requests) == REQUESTS == len(reserved_words())
    assert all(1 <= len(request.words) <= 5 and request.level and request.genre for request in requests)
    assert {request.level for request in requests} == set(Level)
    with gzip.open(OWN_STORIES, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    assert len(rows) > 15_000
    assert not {word_set(row["words"]) for row in rows} & reserved_words()
    titles = {row["title"].lower() for row in rows}
    assert not [request.title for request in requests if request.title and request.title.lower() in titles]


def test_two_models_are_told_measured_and_shown(
    folder: Path, models: tuple[Path, Path], tmp_path: Path
) -> None:
    first, second = models
    out = tmp_path / "out"
    options = ["--requests", "4", "--candidates", "2", "--people", "10", "--sanity", "--temperature", "0.9"]
    places = ["--folder", str(folder), "--out", str(out), "--judge", str(first)]
    done = CliRunner().invoke(app, ["evaluate", str(first), "--against", str(second), *options, *places])
    assert done.exit_code == 0, done.output
    for shown in ("Scorecard", "tiny-1", "tiny-2", "people", "shuffled", "true order beats shuffled"):
        assert shown in done.output
    card = Scorecard.model_validate_json((out / "scorecard.json").read_text(encoding="utf-8"))
    assert (card.suite_sha256, card.requests, card.candidates) == (SUITE_SHA256, 4, 2)
    assert [column.kind for column in card.columns[:3]] == ["model", "model", "people"]
    assert [column.version for column in card.columns[:2]] == ["tiny-1", "tiny-2"]
    assert card.columns[0].weights_sha256 != card.columns[1].weights_sha256
    assert card.columns[0].decoding["temperature"] == 0.9
    people, model = card.columns[2].figures, card.columns[0].figures
    assert people["words_final"].value == 1
    assert people["copied"].value is not None
    assert 0 < (model["bits_per_byte.wordtale_stories"].value or 0) < 100
    assert "bits_per_byte.wordtale_stories" not in people
    for row in card.rows:
        for column in card.columns:
            value = column.figures.get(row.key)
            assert value is None or value.value is None or not row.share or 0 <= value.value <= 1
    assert (out / "scorecard.png").read_bytes().startswith(b"\x89PNG")
    lines = (out / "stories-1.jsonl").read_text(encoding="utf-8").splitlines()
    told = [json.loads(line) for line in lines]
    assert [row["request"]["seed"] for row in told] == [1, 2, 3, 4]
    assert all(row["raw"].get("text") and row["story"].get("text") for row in told)


def test_the_same_command_gives_the_same_stories_and_clean_json(
    folder: Path, models: tuple[Path, Path], tmp_path: Path
) -> None:
    texts = []
    for turn in ("a", "b"):
        out = tmp_path / turn
        done = CliRunner().invoke(
            app,
            [
                *(
                    "evaluate",
                    str(models[0]),
                    "--requests",
                    "2",
                    "--candidates",
                    "1",
                    "--seed",
                    "9",
                    "--json",
                ),
                *("--people", "10", "--folder", str(folder), "--out", str(out), "--judge", str(models[0])),
            ],
        )
        assert done.exit_code == 0, done.output
        assert Scorecard.model_validate_json(done.stdout).seed == 9
        texts.append((out / "stories-1.jsonl").read_text(encoding="utf-8"))
    assert texts[0] == texts[1]


def test_what_is_missing_is_said_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    run = CliRunner()
    nothing = run.invoke(app, ["evaluate", "--folder", str(tmp_path), "--out", str(tmp_path / "out")])
    assert (nothing.exit_code, "wordtale train prepare" in nothing.output) == (1, True)
    unknown = run.invoke(app, ["evaluate", "nosuch", "--folder", str(folder), "--out", str(tmp_path / "out")])
    assert (unknown.exit_code, "no model called nosuch" in unknown.output) == (1, True)
    assert not (tmp_path / "out").exists()


def test_the_shipped_judge_prefers_unseen_stories_in_their_order() -> None:
    with gzip.open(OWN_STORIES, "rt", encoding="utf-8") as file:
        documents = [
            Document("wordtale_stories", "story", row["text"], row["id"], title=row["title"])
            for row in map(json.loads, file)
        ]
    unseen = [document for document in documents if document.held_out and document.text.count(". ") >= 6]
    stories = [written(document) for document in unseen[:16]]
    assert len(stories) == 16
    judge = Judge(SHIPPED / "storyteller")
    straight = mean(order.wins if order else None for order in judge.orders(stories))
    crossed = mean(order.wins if order else None for order in judge.orders(spoilt(stories, "shuffled")))
    assert straight.value is not None
    assert crossed.value is not None
    assert straight.value > 0.75
    assert crossed.value < straight.value - 0.15
    # A text beyond the context is read as far as it goes.
    (long,) = judge.log_probs([replace(stories[0], text=stories[0].text * 20)])
    assert 100 < long[1] <= 512
