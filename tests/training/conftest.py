"""A corpus of a few dozen made-up texts in the folder layout of the real one, and a recipe to match."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest

NAMES = ("Tom", "Anna", "Kofi", "Mei", "Lucas", "Fatima")
PLACES = ("garden", "station", "kitchen", "market", "library", "harbour")
THINGS = ("umbrella", "lamp", "letter", "bicycle", "orange", "key")

RECIPE = """
family = "storyteller"
seed = 7
[tokenizer]
vocabulary = 420
[model]
hidden_size = 32
intermediate_size = 64
num_hidden_layers = 2
num_attention_heads = 2
context = 128
[pretrain]
batch_tokens = 512
muon_lr = 0.01
adam_lr = 0.003
weight_decay = 0.1
warmup_steps = 2
ema = 0.9
mix = { wordtale_stories = 0.8, wordtale_simpler = 0.1, wordtale_jokes = 0.1 }
[finetune]
batch_tokens = 512
muon_lr = 0.01
adam_lr = 0.003
weight_decay = 0.1
warmup_steps = 0
tokens = 4000
ema = 0.9
mix = { wordtale_stories = 1.0 }
"""


def write_rows(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def story(rng: random.Random) -> tuple[str, list[str]]:
    name, place, thing = rng.choice(NAMES), rng.choice(PLACES), rng.choice(THINGS)
    text = (
        f"{name} walked to the {place} on day {rng.randint(1, 999)}. There was an old {thing} on the ground. "
        f"{name} took the {thing} home and cleaned it. In the evening a neighbour knocked. "
        f'"That is mine," she said, and {name} smiled and gave it back.'
    )
    return text, [name, thing]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several processes of torch with two threads each starve one another."""
    monkeypatch.setenv("WORDTALE_TRAINING_THREADS", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("WORDTALE_TRAINING_COMPILE", "0")
    # Loading MiniLM costs seconds: the one module that needs it asks for it.
    monkeypatch.setenv("WORDTALE_TRAINING_MEANING", "0")


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    rng = random.Random(1)
    stories: list[dict[str, object]] = []
    for number in range(150):
        text, words = story(rng)
        stories.append(
            {
                "id": f"wt-{number}",
                "genre": rng.choice(["sci_fi", "everyday"]),
                "level_asked": rng.choice(["A1", "A2"]),
                "words": words,
                "title": f"The {words[1].title()}",
                "text": text,
            }
        )
    write_rows(folder / "wordtale_stories" / "stories.jsonl.gz", stories)
    simpler: list[dict[str, object]] = [
        {
            "id": f"wt-{n}",
            "level": "A1",
            "text": f"A person found a thing number {n}. The person gave it back.",
        }
        for n in range(0, 150, 3)
    ]
    write_rows(folder / "wordtale_simpler" / "retellings.jsonl.gz", simpler)
    jokes: list[dict[str, object]] = [
        {"topic": "food", "text": f"Why did soup {n} laugh? It was number {n}."} for n in range(40)
    ]
    write_rows(folder / "wordtale_jokes" / "jokes.jsonl.gz", jokes)
    sentences: list[dict[str, object]] = [
        {"word": "walk", "level": "A1", "sentence": f"I walk to room {n} every day."} for n in range(20)
    ]
    write_rows(folder / "wordtale_sentences" / "sentences.jsonl.gz", sentences)
    return folder


@pytest.fixture(scope="session")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return path
