"""`wordtale train prepare` without embeddings: what is left out and why, resume, bad files."""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from training.cli import app
from training.data import prepare as preparing
from training.data.documents import Document, read_documents
from training.data.prepare import document_path

PREPARE = [sys.executable, "-c", "from training.cli import app; app()", "prepare"]
GOOD = (
    "A girl saw a bird in a tree. She gave the bird some seeds. "
    "The bird sang for her every morning after that day."
)


def write(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def run(corpus: Path, folder: Path, *options: str) -> str:
    done = CliRunner().invoke(app, ["prepare", "--corpus", str(corpus), "--folder", str(folder), *options])
    assert done.exit_code == 0, done.output
    return done.output


def sources_of(folder: Path) -> dict[str, dict[str, object]]:
    rows = json.loads((folder / "data" / "data_card.json").read_text(encoding="utf-8"))
    return {row["name"]: row for row in rows}


def results(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "data").iterdir() if path.is_file()}


@pytest.fixture
def own(corpus: Path, tmp_path: Path) -> Path:
    """A copy of the tiny corpus that a test may change."""
    return Path(shutil.copytree(corpus, tmp_path / "corpus"))


@pytest.fixture(scope="module")
def whole(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    os.environ["WORDTALE_TRAINING_MEANING"] = "0"
    run(corpus, folder)
    return folder


def test_two_runs_give_the_same_files_and_a_third_reads_nothing_again(
    corpus: Path, whole: Path, tmp_path: Path
) -> None:
    assert "40 documents" in run(corpus, tmp_path)
    assert results(tmp_path) == results(whole)
    again = run(corpus, tmp_path)
    assert again.count("prepared before") == 4
    assert "documents read" not in again
    assert results(tmp_path) == results(whole)


def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been(
    corpus: Path, whole: Path, tmp_path: Path
) -> None:
    command = [*PREPARE, "--corpus", str(corpus), "--folder", str(tmp_path)]
    first = tmp_path / "data" / "stages" / "wordtale_stories.json"
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not first.exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert first.exists()
    read_before = first.stat().st_mtime_ns
    run(corpus, tmp_path)
    assert results(tmp_path) == results(whole)
    assert first.stat().st_mtime_ns == read_before


def test_a_changed_source_is_read_again(own: Path, tmp_path: Path) -> None:
    run(own, tmp_path)
    write(
        own / "wordtale_jokes" / "jokes.jsonl.gz",
        [{"topic": "tea", "text": "My tea is late, it is on a break."}],
    )
    run(own, tmp_path)
    assert sources_of(tmp_path)["wordtale_jokes"]["documents"] == 1


def test_what_is_no_story_or_not_for_learners_is_left_out_and_counted_by_reason(
    own: Path, tmp_path: Path
) -> None:
    rows: list[dict[str, object]] = [
        {"title": "Good", "text": GOOD},
        {"title": "Same", "text": GOOD},
        {"title": "Link", "text": GOOD + " Read more at www.example.com for free."},
        {"title": "Old", "text": "Thou art my friend, quoth he, and thy house is nigh. " * 4},
        {"title": "Short", "text": "The end of it."},
        {"title": "Cut", "text": GOOD + " And then the big"},
        {
            "title": "Play",
            "text": "ANNA: Where is the bird?\nBEN: I do not know it.\nANNA: Look in the tree!\n" + GOOD,
        },
        {"title": "Rude", "text": GOOD + " Then the bird said that it was all bullshit."},
        {"title": "Again", "text": "The bird was in the tree. " * 12},
        {
            "title": "Lines",
            "text": "Era una vez un pájaro que vivía en un árbol muy alto cerca del mar y cantaba. " * 3,
        },
    ]
    write(own / "pratham_books" / "stories.jsonl.gz", rows)
    output = run(own, tmp_path)
    card = sources_of(tmp_path)["pratham_books"]
    assert (card["documents"], card["duplicates"], card["refused"]) == (1, 1, 8)
    assert card["refused_for"] == {
        "cut off": 1,
        "encoding or boilerplate": 1,
        "not English prose": 1,
        "old words": 1,
        "repetition": 1,
        "script": 1,
        "too short": 1,
        "unsuitable: profanity": 1,
    }
    assert "unsuitable: profanity 1" in output
    (document,) = read_documents(document_path(tmp_path / "data", "pratham_books"))
    assert (document.title, document.level) == ("Good", "A1")


def _words(rng: random.Random, count: int) -> list[str]:
    nouns = (
        "apple",
        "bridge",
        "candle",
        "doctor",
        "engine",
        "forest",
        "garden",
        "hammer",
        "island",
        "jacket",
    )
    verbs = (
        "finds",
        "takes",
        "sees",
        "wants",
        "keeps",
        "likes",
        "holds",
        "cleans",
        "moves",
        "opens",
        "paints",
    )
    return [
        f"The {rng.choice(nouns)} {rng.choice(verbs)} a {rng.choice(nouns)} in the {rng.choice(nouns)}."
        for _ in range(count)
    ]


def test_a_near_duplicate_of_a_held_out_text_never_enters_training(own: Path, tmp_path: Path) -> None:
    rng = random.Random(4)
    texts = [" ".join(_words(rng, 12)) for _ in range(150)]
    held = [text for text in texts if Document("x", "story", text, text).held_out]
    assert held
    near = [text.replace("The ", "One ", 1) for text in texts[:20] + held]
    near = [text for text in near if not Document("x", "story", text, text).held_out]
    # The copies stand in an earlier source, so by order alone they would win.
    write(own / "pratham_books" / "stories.jsonl.gz", [{"title": "A", "text": text} for text in near])
    write(own / "bookdash" / "stories.jsonl.gz", [{"title": "A", "text": text} for text in texts])
    run(own, tmp_path)
    documents = [
        document
        for name in ("pratham_books", "bookdash")
        for document in read_documents(document_path(tmp_path / "data", name))
    ]
    kept = {document.text for document in documents}
    assert set(held) <= kept
    assert not {text.replace("The ", "One ", 1) for text in held} & kept
    rows = sources_of(tmp_path)
    copies_of_held = sum(text.replace("The ", "One ", 1) in near for text in held)
    assert rows["pratham_books"]["near_held_out"] == copies_of_held > 0
    # Of two alike that are both trained on, the earlier stays.
    assert rows["bookdash"]["near_duplicates"] == len(set(texts[:20]) - set(held)) > 10


def test_a_retelling_is_not_a_near_duplicate_of_its_own_original(own: Path, tmp_path: Path) -> None:
    rng = random.Random(9)
    told = [(f"s-{number}", " ".join(_words(rng, 12))) for number in range(30)]
    rest = {"genre": "everyday", "level_asked": "B1", "words": [], "title": "Things"}
    write(
        own / "wordtale_stories" / "stories.jsonl.gz", [{"id": n, "text": text, **rest} for n, text in told]
    )
    retold = [{"id": n, "level": "A1", "text": f"{text} It was a good day."} for n, text in told]
    write(own / "wordtale_simpler" / "retellings.jsonl.gz", retold)
    run(own, tmp_path)
    assert sources_of(tmp_path)["wordtale_simpler"]["documents"] == 60


def test_levels_are_measured_and_the_level_asked_for_is_kept(own: Path, tmp_path: Path) -> None:
    plain = (
        "Tom has a dog. The dog is big. It eats an apple. Tom is happy. They go home and they eat and sleep."
    )
    long = (
        "When the clock in the hall had struck midnight for the second time, Tom went slowly out into the "
        "garden. A woman in a grey coat was already waiting for him by the gate, although nobody had come."
    )
    rows = [{"id": f"s-{n}", "level_asked": "A1", "text": text} for n, text in enumerate((plain, long), 1)]
    full = [{**row, "genre": "everyday", "words": ["Tom"], "title": "Tom"} for row in rows]
    write(own / "wordtale_stories" / "stories.jsonl.gz", full)
    shutil.rmtree(own / "wordtale_simpler")
    write(own / "wordtale_simpler" / "retellings.jsonl.gz", [])
    output = run(own, tmp_path)
    documents = {d.group: d for d in read_documents(document_path(tmp_path / "data", "wordtale_stories"))}
    assert (documents["s-1"].level, documents["s-1"].level_asked) == ("A1", "A1")
    assert documents["s-2"].level in ("B1", "B2")
    assert documents["s-2"].level_asked == "A1"
    report = json.loads((tmp_path / "data" / "data_report.json").read_text(encoding="utf-8"))
    assert sum(report["levels_asked_x_measured"]["wordtale_stories"]["A1"].values()) == 2
    assert "50%" in output


def test_without_a_corpus_our_own_texts_are_prepared(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparing, "OWN_CORPUS", corpus)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["prepare", "--folder", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "own texts alone" in done.output
    assert sources_of(tmp_path / "out")["wordtale_jokes"]["documents"] == 40


def test_our_own_texts_stand_in_the_repository_with_card_and_licence() -> None:
    folder = preparing.OWN_CORPUS
    assert "CC0" in (folder / "LICENSE").read_text(encoding="utf-8")
    card = (folder / "README.md").read_text(encoding="utf-8")
    for name in ("wordtale_stories", "wordtale_simpler", "wordtale_sentences", "wordtale_jokes"):
        (file,) = (folder / name).glob("*.jsonl.gz")
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            count = sum(1 for _ in lines)
        assert f"{count:,}" in card
        assert name in card


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"no gzip at all", "damaged or no gzip file"),
        (gzip.compress(b'{"topic": "a", "text": "b"}\n' * 500)[:-20], "damaged or no gzip file"),
        (gzip.compress('{"topic": "a", "text": "caf\xe9"}'.encode("latin-1")), "not UTF-8"),
        (gzip.compress(b'{"topic": "a", "text"'), "line 1 is not JSON"),
        (
            gzip.compress(b'{"topic": "a", "text": "A good joke about tea."}\n{"topic": "b"}'),
            "line 2 has no field text",
        ),
        (gzip.compress(b'["a list"]'), "line 1 has no field"),
    ],
)
def test_a_bad_file_is_named_in_one_sentence(
    own: Path, tmp_path: Path, content: bytes, sentence: str
) -> None:
    (own / "wordtale_jokes" / "jokes.jsonl.gz").write_bytes(content)
    done = CliRunner().invoke(app, ["prepare", "--corpus", str(own), "--folder", str(tmp_path / "out")])
    assert done.exit_code == 1
    last = done.output.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert "jokes.jsonl.gz" in last
    assert sentence in last


def test_a_missing_or_empty_folder_is_said_so(tmp_path: Path) -> None:
    for corpus, sentence in (
        (tmp_path / "nowhere", "there is no folder"),
        (tmp_path, "no known source below"),
    ):
        done = CliRunner().invoke(
            app, ["prepare", "--corpus", str(corpus), "--folder", str(tmp_path / "out")]
        )
        assert done.exit_code == 1
        assert sentence in done.output
