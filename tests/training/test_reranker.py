"""The learned scorer's training room through its commands, and the ways to spoil a story."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from engine.loading import load
from engine.registry import read_card
from engine.reranking import MAX_WEIGHT
from engine.schema import StoryRequest
from tests import tiny_model
from tests.training.conftest import story
from training.cli import app
from training.data.documents import Document, read_documents, write_documents
from training.reranker.corruptions import KINDS, corrupt, shuffle_sentences, split
from training.reranker.fresh import forbidden, fresh_requests, vocabulary_of

GENRES, LEVELS = ("sci_fi", "everyday"), ("A1", "A2", "B1", "B2")
TEXT = (
    "Anna found an old lamp in the garden. She put it on the table and cleaned it. At night an old man came "
    'to the house. "My lamp is here!" he said. Anna laughed and gave it to him.'
)
OTHER = "Tom ran to the station. His train was late. He bought a big orange. Then he fell asleep on a bench."
WORDS = ["umbrella", "bridge", "walked", "quickly"]


def documents() -> list[Document]:
    """Return 60 training and 6 held-out stories."""
    rng = random.Random(3)
    made: list[Document] = []
    held = number = 0
    while len(made) < 66:
        text, words = story(rng)
        number += 1
        document = Document(
            source="wordtale_stories",
            kind="story",
            text=text,
            group=f"wt-{number}",
            title=f"The {words[1].title()}",
            genre=rng.choice(GENRES),
            level=rng.choice(LEVELS),
            words=words,
            content=["garden", "evening", "neighbour", "ground", "smile", words[0]],
        )
        if document.held_out:
            held += 1
        elif len(made) - held >= 60:
            continue
        made.append(document)
    return made


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.build(tmp_path_factory.mktemp("model") / "storyteller")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_documents(folder / "wordtale_stories.jsonl", documents())
    return folder


@pytest.fixture(scope="module")
def made(model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return the folder of a scorer trained for seconds, and what the command printed."""
    folder = tmp_path_factory.mktemp("made")
    return folder, train(model, data, folder)


def wordtale(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def train(model: Path, data: Path, folder: Path) -> str:
    given = ("--tokens", 6000, "--stories", 6, "--layers", 2)
    run = wordtale("reranker", "--model", model, "--folder", folder, "--data", data, *given)
    assert run.exit_code == 0, run.output
    return str(run.output)


def test_training_leaves_a_scorer_that_the_engine_loads(made: tuple[Path, str], model: Path) -> None:
    folder, said = made
    config = json.loads((folder / "reranker" / "config.json").read_text())
    assert set(config["accuracy"]) == {*KINDS, "told", "continued"}
    assert all(kind in said for kind in ("shuffled", "told", "written one preferred"))
    reranker = load(read_card(model), device="cpu", threads=1, reranker=folder / "reranker").reranker
    assert reranker is not None
    scores = reranker.scores(StoryRequest(words=["lamp"]), [("The Lamp", TEXT), ("The Lamp", OTHER)])
    assert scores[0] != scores[1]


def test_training_again_tells_nothing_twice(made: tuple[Path, str], model: Path, data: Path) -> None:
    folder, said = made
    told = (folder / "told.jsonl").read_text()
    assert "told.jsonl: 0 requests" not in said
    # What a kill left behind: half a line, and one request less.
    *lines, last = told.splitlines(keepends=True)
    (folder / "told.jsonl").write_text("".join(lines) + last[:40])
    assert "told.jsonl: 1 requests told now" in train(model, data, folder)
    assert sorted(
        json.loads(line)["id"] for line in (folder / "told.jsonl").read_text().splitlines()
    ) == sorted(json.loads(line)["id"] for line in told.splitlines())


def reject(made: tuple[Path, str], model: Path, data: Path, folder: Path, *given: object) -> dict[str, Any]:
    """Run `wordtale train rejection` and return its card."""
    fixed = ("--model", model, "--folder", folder, "--data", data, "--reranker", made[0] / "reranker")
    run = wordtale("rejection", *fixed, *given)
    assert run.exit_code == 0, run.output
    card: dict[str, Any] = json.loads((folder / "wordtale_best_card.json").read_text())
    assert card == json.loads(run.output[run.output.index("{") :])
    return card


def told_before(folder: Path, *drafts: dict[str, Any]) -> None:
    """Leave one draft for each of as many fresh requests, as a run before would have."""
    whole = {"title": "The Lamp", "logprob": -1.0, "learned": 1.0, "missed": [], "cut": False}
    rows = [
        {"id": f"1-{n}", "request": {"level": "A2", "words": ["lamp"]}, "drafts": [whole | draft]}
        for n, draft in enumerate(drafts)
    ]
    (folder / "fresh-1.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_rejection_tells_every_request(
    made: tuple[Path, str], model: Path, data: Path, tmp_path: Path
) -> None:
    given = ("--model", model, "--folder", tmp_path, "--data", data, "--stories", 6, "--candidates", 3)
    without = wordtale("rejection", *given, "--seed", 2)
    assert without.exit_code == 0, without.output
    assert "no learned scorer" in without.output
    assert json.loads(without.output[without.output.index("{") :])["mean_learned_score_of_kept"] is None
    card = reject(made, model, data, tmp_path, "--stories", 6, "--candidates", 3, "--keep", "0.1")
    assert (card["requests"], card["drafts"]) == (6, 18)
    assert card["kept"] <= 2
    rows = [json.loads(line) for line in (tmp_path / "fresh-1.jsonl").open()]
    assert all(draft["learned"] is not None for row in rows for draft in row["drafts"])


def test_rejection_keeps_the_best_that_pass_as_documents(
    made: tuple[Path, str], model: Path, data: Path, tmp_path: Path
) -> None:
    hard = (
        "The parliament deliberated whether the constitutional amendment contradicted its jurisdiction. " * 3
    )
    told_before(
        tmp_path,
        {"text": TEXT, "score": 20.0},
        {"text": TEXT.replace("lamp", "radio"), "score": 90.0, "missed": ["lamp"]},
        {"text": TEXT.replace("old", "big"), "score": 91.0, "cut": True},
        {"text": hard, "score": 92.0},
        {"text": "Anna had a lamp in the garden. " * 5, "score": 93.0},
        {"text": "Anna had a lamp.", "score": 94.0},
        {"text": TEXT.replace("old", "red"), "score": 10.0},
    )
    given = ("--stories", 7, "--candidates", 1)
    assert reject(made, model, data, tmp_path, *given, "--keep", "1")["kept"] == 2
    card = reject(made, model, data, tmp_path, *given, "--keep", "0.1")
    (kept,) = read_documents(tmp_path / "wordtale_best.jsonl")
    assert (card["requests_with_a_passing_draft"], card["kept"]) == (2, 1)
    assert (kept.source, kept.text, kept.title, kept.words) == ("wordtale_best", TEXT, "The Lamp", ["lamp"])
    assert kept.kind == "story"
    assert "garden" in kept.content


def test_what_stands_in_the_training_text_is_not_kept(
    made: tuple[Path, str], model: Path, data: Path, tmp_path: Path
) -> None:
    text = next(document.text for document in documents() if not document.held_out)
    told_before(tmp_path, {"text": text, "score": 90.0})
    card = reject(made, model, data, tmp_path, "--stories", 1, "--candidates", 1, "--keep", "1")
    assert (card["passed_over_as_copies"], card["kept"]) == (1, 0)


def test_fresh_requests_are_new_and_repeatable() -> None:
    vocabulary = vocabulary_of(documents())
    requests = fresh_requests(50, 5, vocabulary)
    assert requests == fresh_requests(50, 5, vocabulary)
    assert requests != fresh_requests(50, 6, vocabulary)
    asked = {frozenset(word.lower() for word in request.words) for request in requests if request.words}
    assert not asked & forbidden()
    assert frozenset({"nina", "lunch"}) in forbidden()


def test_judgements_are_weighed(made: tuple[Path, str], model: Path, tmp_path: Path) -> None:
    rows = [
        {"title": "T", "text": TEXT if number % 2 else OTHER, "request": {"words": [f"w{number // 2}"]}}
        | {"sense": 4 if number % 2 else 2, "logprob": -1.0}
        for number in range(24)
    ]
    file = tmp_path / "readers.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ("--model", model, "--reranker", made[0] / "reranker")
    run = wordtale("reranker-readers", file, *arguments)
    assert run.exit_code == 0, run.output
    assert "24 judgements of 12 requests, mean sense 3.00" in run.output
    assert "cross-validated" in run.output
    config = made[0] / "reranker" / "config.json"
    before = json.loads(config.read_text())
    assert wordtale("reranker-readers", file, *arguments, "--write").exit_code == 0
    after = json.loads(config.read_text())
    assert 0 <= after.pop("weight") <= MAX_WEIGHT
    assert after == {name: value for name, value in before.items() if name != "weight"}
    words = next(line for line in run.output.splitlines() if line.startswith("words ")).split()
    assert float(words[1]) == pytest.approx(1.0)
    file.write_text(file.read_text() + json.dumps(rows[0] | {"sense": 6}) + "\n")
    refused = wordtale("reranker-readers", file, *arguments)
    assert refused.exit_code == 1
    assert "line 25" in refused.output


def test_what_is_missing_is_said(model: Path, tmp_path: Path) -> None:
    run = wordtale("reranker", "--model", model, "--folder", tmp_path, "--data", tmp_path)
    assert run.exit_code == 1
    assert "no prepared wordtale_stories" in run.output


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 10_000))
def test_a_spoilt_story_is_another_one(kind: str, seed: int) -> None:
    spoilt = corrupt(kind, TEXT, OTHER, random.Random(seed), WORDS)
    assert spoilt is not None
    assert spoilt != TEXT
    assert spoilt == corrupt(kind, TEXT, OTHER, random.Random(seed), WORDS)


@given(seed=st.integers(0, 10_000))
def test_shuffling_keeps_every_sentence(seed: int) -> None:
    shuffled = shuffle_sentences(TEXT, random.Random(seed))
    assert shuffled is not None
    assert sorted(split(shuffled)) == sorted(split(TEXT))


@given(text=st.text(max_size=60), other=st.text(max_size=60), seed=st.integers(0, 99))
def test_any_text_can_be_tried(text: str, other: str, seed: int) -> None:
    for kind in KINDS:
        corrupt(kind, text, other, random.Random(seed), WORDS)
