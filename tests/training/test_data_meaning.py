"""Labels by embeddings, storylines and genres, through `prepare` and `keywords`. Loads MiniLM."""

from __future__ import annotations

import gzip
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from engine.lexicon import used_words
from engine.schema import Genre
from training.cli import app
from training.data.clean import sentences
from training.data.documents import read_documents
from training.data.embeddings import Embedder
from training.data.genre import GenreClassifier
from training.data.prepare import CLASSIFIER, document_path, prepare

SPACE = (
    "{0} flew a rocket to the red planet. The robot checked the engine and the {1}. "
    "An alien ship came close to the moon base. {0} sent a signal to the stars number {2}."
)
KITCHEN = (
    "{0} made soup for the family on day {2}. The {1} was on the kitchen table. "
    "Her little brother wanted more bread. {0} washed the plates with her mother."
)
PIZZERIA = (
    "Pizzeria\n\nThe family went out for pizza. The waiter told them about the special. They ordered a coke. "
    "The food came after ten minutes. They ate and ate."
)


def _stories() -> list[dict[str, object]]:
    rng = random.Random(2)
    rows: list[dict[str, object]] = []
    for number in range(160):
        space = number % 2 == 0
        name, thing = rng.choice(("Tom", "Anna", "Kofi", "Mei")), rng.choice(("umbrella", "lamp", "letter"))
        text = (SPACE if space else KITCHEN).format(name, thing, number)
        genre = "sci_fi" if space else "everyday"
        rows.append(
            {
                "id": f"t-{number}",
                "genre": genre,
                "level_asked": "A1",
                "words": [thing],
                "title": "T",
                "text": text,
            }
        )
    return rows


@pytest.fixture(scope="module")
def embedded(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A corpus of two genres plus picture books without one, and what `prepare` made of it."""
    base = tmp_path_factory.mktemp("meaning")
    folder = Path(shutil.copytree(corpus, base / "corpus"))
    books = [
        {"title": "Up", "text": SPACE.format("Lena", "helmet", 7)},
        {"title": "Soup", "text": KITCHEN.format("Lena", "spoon", 7)},
    ]
    (folder / "bookdash").mkdir()
    for path, rows in (("wordtale_stories/stories", _stories()), ("bookdash/stories", books)):
        with gzip.open(folder / f"{path}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    prepare(folder, base / "data", lambda line: None)
    return folder, base / "data"


def test_genres_are_learned_measured_and_given_to_books_without_one(embedded: tuple[Path, Path]) -> None:
    _, data = embedded
    figures = json.loads((data / "data_report.json").read_text(encoding="utf-8"))["genre_classifier"]
    held = sum(d.held_out for d in read_documents(document_path(data, "wordtale_stories")))
    assert figures["stories"] == held > 0
    assert figures["top1"] == 1.0
    genres = {d.title: d.genre for d in read_documents(document_path(data, "bookdash"))}
    assert genres == {"Up": "sci_fi", "Soup": "everyday"}
    classifier = GenreClassifier.load(data / CLASSIFIER)
    vectors = Embedder().encode(["The rocket left the planet.", "Mother cooked dinner in the kitchen."])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    (first, sure), (second, _) = classifier.predict(vectors)
    assert (first, second) == (Genre.SCI_FI, Genre.EVERYDAY)
    assert 0.5 < sure <= 1


def test_a_storyline_has_at_most_one_word_of_each_sentence_and_the_text_holds_it(
    embedded: tuple[Path, Path],
) -> None:
    _, data = embedded
    documents = list(read_documents(document_path(data, "wordtale_stories")))
    assert all(document.storyline for document in documents)
    for document in documents[:40]:
        assert len(document.storyline) <= len(sentences(document.text))
        assert not used_words(document.storyline, document.text)[1]
        assert len(set(document.storyline)) == len(document.storyline)


def test_labels_are_the_same_on_a_second_run_and_after_a_lost_chunk(
    embedded: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, data = embedded
    half = tmp_path / "data"
    # What a run killed while labelling leaves: some chunks, no card.
    shutil.copytree(data / "labels", half / "labels")
    lost = sorted((half / "labels").glob("storylines-*"))
    lost[0].unlink()
    prepare(folder, half, lambda line: None)
    for path in data.glob("*.*"):
        assert (half / path.name).read_bytes() == path.read_bytes(), path.name


def test_the_storyline_of_the_pizzeria_reads_as_a_plan(tmp_path: Path) -> None:
    file = tmp_path / "pizzeria.txt"
    file.write_text(PIZZERIA, encoding="utf-8")
    done = CliRunner().invoke(app, ["keywords", str(file)])
    assert done.exit_code == 0, done.output
    title, line, *rest = done.output.splitlines()
    assert title == "title: Pizzeria"
    words = line.removeprefix("storyline: ").split(" -> ")
    assert words[0] == "pizza"
    assert {"coke", "food"} < set(words)
    assert words[-1] == "eat"
    assert len(rest) == len(words) == 5
    assert "eat (ate)" in rest[-1]


def test_names_in_a_storyline_keep_their_capital_and_lemmas_are_words_of_a_dictionary(tmp_path: Path) -> None:
    file = tmp_path / "anna.txt"
    file.write_text(
        "Anna ordered a coke and cookies. Later the waiter smiled at Anna. Cookies fell on the floor.",
        encoding="utf-8",
    )
    done = CliRunner().invoke(app, ["keywords", str(file)])
    words = done.output.splitlines()[0].removeprefix("storyline: ").split(" -> ")
    assert words[0] == "Anna"
    assert "cookie" in words


def test_a_file_that_is_no_text_is_said_so(tmp_path: Path) -> None:
    file = tmp_path / "bad.txt"
    file.write_bytes(b"\xff\xfe\x00")
    for path in (file, tmp_path / "none.txt"):
        done = CliRunner().invoke(app, ["keywords", str(path)])
        assert done.exit_code == 1
        assert "cannot be read as UTF-8 text" in done.output
