"""The learned scorer beside a model: it takes part in the choice, and a broken one is left aside by name."""

from __future__ import annotations

import json
import random
import shutil
import statistics
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from engine.bench.rerank import rerank
from engine.config import EngineSettings
from engine.loading import load
from engine.registry import Registry, read_card
from engine.reranking import MAX_WEIGHT, Reranker
from engine.schema import Decoding, DoneEvent, StoryRequest, StoryResult
from engine.scoring import MAX_LEARNED, MISSING_WORD, Draft, best_of, with_learned
from engine.service import StoryService
from tests import tiny_model
from training.reranker.corruptions import shuffle_sentences
from training.reranker.train import save, start_scorer

SHIPPED = Path(__file__).parents[2] / "engine" / "models" / "storyteller"
TEXTS = [
    ("Home", "The old dog ran to the door. Then it went home and had dinner with Tom."),
    (
        "The Sea",
        "She looked at the sea, and he said hello to his friend. They went to the market. It was cold.",
    ),
    ("A Key", "We must find the key, she thought."),
]
WRITTEN = (
    "Mia forgot her umbrella at home. In the afternoon it began to rain. A boy from her class stood at the "
    "bus stop with a big umbrella. He held it over her and smiled. They waited for the bus together, and Mia "
    "was glad that she had forgotten hers.",
    "Tom's grandmother lost her glasses. They looked under the bed and behind the sofa. They looked in the "
    "garden, too. Then Tom looked at his grandmother and laughed. The glasses were on her head.",
    "A small robot worked in a bakery. It made a hundred loaves every night. One night it was so tired that "
    "it fell asleep beside the oven. The baker found it in the morning and covered it with his coat. That "
    "day the shop opened late, and nobody was angry.",
)


def make(folder: Path, *, seed: int = 0, causal: bool = False) -> Path:
    """Save a tiny model with a scorer of random judgement under `folder` and return it."""
    model = tiny_model.build(folder, seed=seed)
    scorer = start_scorer(model, 2, causal=causal)
    with torch.no_grad():
        scorer.head.weight.mul_(100.0)
    save(scorer, model / "reranker", model, {"centre": 0.0, "spread": 1.0})
    logits = loaded(model).scores(StoryRequest(words=["dog"]), TEXTS)
    figures = {"centre": statistics.mean(logits), "spread": statistics.stdev(logits)}
    save(scorer, model / "reranker", model, figures)
    return model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("models") / "storyteller")


Tell = Callable[..., Any]


@pytest.fixture
async def tell() -> AsyncIterator[Tell]:
    """Return a function that tells one story with the models of a folder."""
    opened: list[StoryService] = []

    async def told(models: Path, **asked: Any) -> StoryResult:
        if not opened:
            opened.append(StoryService(EngineSettings(models_dir=models, threads=1)))
            await opened[0].start()
        request = StoryRequest(decoding=Decoding(max_new_tokens=40), **asked)
        events = [event async for event in opened[0].stories(request)]
        assert isinstance(events[-1], DoneEvent), events
        return events[-1].result

    yield told
    for service in opened:
        await service.aclose(0)


def loaded(model: Path) -> Reranker:
    found = load(read_card(model), device="cpu", threads=1).reranker
    assert found is not None
    return found


async def test_the_scorer_takes_part_in_the_choice(model: Path, tell: Tell, tmp_path: Path) -> None:
    bare = tmp_path / "bare" / "storyteller"
    shutil.copytree(model, bare, ignore=shutil.ignore_patterns("reranker"))
    plain = StoryService(EngineSettings(models_dir=bare.parent, threads=1))
    await plain.start()
    differ = 0
    for seed in range(6):
        asked = {"seed": seed, "words": ["dog"], "return_candidates": True}
        ours = await tell(model.parent, **asked)
        request = StoryRequest(decoding=Decoding(max_new_tokens=40), **asked)
        last = [event async for event in plain.stories(request)][-1]
        assert isinstance(last, DoneEvent)
        theirs = last.result
        both = [
            {result.text, *(other.text for other in result.candidates or [])} for result in (ours, theirs)
        ]
        assert both[0] == both[1]
        differ += ours.text != theirs.text
    await plain.aclose(0)
    assert differ >= 1


async def test_a_seed_tells_the_same_story_again(model: Path, tell: Tell) -> None:
    asked = {"seed": 11, "words": ["dog", "Tom"], "level": "A1", "return_candidates": True}
    assert (await tell(model.parent, **asked)).model_dump(exclude={"timing"}) == (
        await tell(model.parent, **asked)
    ).model_dump(exclude={"timing"})


@pytest.mark.parametrize("causal", [False, True])
def test_a_score_does_not_depend_on_what_is_scored_with_it(tmp_path: Path, causal: bool) -> None:
    reranker = loaded(make(tmp_path / "storyteller", causal=causal))
    request = StoryRequest(words=["dog"], level="A1")
    texts = [*TEXTS, *((title, text * 3) for title, text in TEXTS)]
    together = reranker.scores(request, texts)
    assert len(set(together)) == len(texts)
    assert [reranker.scores(request, [text])[0] for text in texts] == together
    assert reranker.scores(request, texts[::-1]) == together[::-1]


def test_a_long_text_is_scored_by_its_beginning(model: Path) -> None:
    reranker = loaded(model)
    assert len(reranker.scores(StoryRequest(), [("Home", TEXTS[0][1] * 100)] * 40)) == 40


def test_no_score_makes_up_for_a_missing_word_or_a_cut() -> None:
    bad = Draft(0, "T", "Text.", [], ["dog"], -MISSING_WORD)
    cut = Draft(1, "T", "Text.", ["dog"], [], -2.0, cut=True)
    good = Draft(2, "T", "Text.", ["dog"], [], -1.0)
    scored = with_learned([bad, cut, good], [1e9, 1e9, -1e9], MAX_WEIGHT)
    assert best_of(scored) is scored[2]
    assert scored[0].score < scored[1].score
    assert 2 * MAX_WEIGHT * MAX_LEARNED < MISSING_WORD


def _spoil(folder: Path, how: str) -> None:
    config, weights = folder / "config.json", folder / "model.safetensors"
    if how == "no weights":
        weights.unlink()
    elif how == "cut weights":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif how == "not a number":
        state = load_file(weights)
        state["head.weight"][0, 0] = float("nan")
        save_file(state, weights)
    elif how == "other shape":
        state = load_file(weights)
        save_file(state | {"head.weight": torch.zeros(1, 2)}, weights)
    elif how == "no config":
        config.unlink()
    elif how == "config no JSON":
        config.write_text("{")
    else:
        found = json.loads(config.read_text())
        found["tokenizer" if how == "other tokenizer" else "spread"] = "0"
        config.write_text(json.dumps(found))


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("no weights", "can't be read"),
        ("cut weights", "does not fit"),
        ("not a number", "no numbers"),
        ("other shape", "does not fit"),
        ("no config", "can't be read"),
        ("config no JSON", "not as it must be"),
        ("other tokenizer", "another tokenizer"),
        ("no spread", "not as it must be: spread"),
    ],
)
async def test_a_broken_scorer_is_named_and_left_aside(
    model: Path, tmp_path: Path, tell: Tell, how: str, why: str
) -> None:
    broken = tmp_path / "models" / "storyteller"
    shutil.copytree(model, broken)
    _spoil(broken / "reranker", how)
    with structlog.testing.capture_logs() as lines:
        result = await tell(broken.parent, seed=3, words=["dog"])
    assert result.words_missed == []
    (line,) = [line for line in lines if "reranker" in line["event"]]
    assert line["log_level"] == "warning"
    assert why in line["why"]


def test_an_added_model_keeps_its_scorer(model: Path, tmp_path: Path) -> None:
    registry = Registry(EngineSettings(models_dir=tmp_path / "added"))
    added = registry.add(model, name="mine").directory
    assert {path.name for path in (added / "reranker").iterdir()} == {"config.json", "model.safetensors"}
    assert loaded(added)


def test_the_bench_shows_what_more_drafts_bring(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import typer

    monkeypatch.setenv("WORDTALE_ENGINE_MODELS_DIR", str(model.parent))
    app = typer.Typer()
    app.command()(rerank)
    out = tmp_path / "chosen.jsonl"
    arguments = ["--requests", "2", "--n", "1,4", "--json", "--out", str(out)]
    run = CliRunner().invoke(app, arguments)
    assert run.exit_code == 0, run.output
    rows = {(row["choice"], row["n"]): row for row in json.loads(run.stdout)["rows"]}
    assert set(rows) == {("plain", 1), ("plain", 4), ("learned", 1), ("learned", 4)}
    assert rows["learned", 1]["learned"] == rows["plain", 1]["learned"]
    chosen = [json.loads(line) for line in out.read_text().splitlines()]
    assert sorted(row["n"] for row in chosen) == [1, 1, 4, 4]
    assert all(row["text"] and row["title"] and "seed" in row["request"] for row in chosen)
    assert CliRunner().invoke(app, ["--n", "0"]).exit_code == 2


@pytest.mark.skipif(
    not (SHIPPED / "reranker").is_dir(), reason="no scorer is shipped yet: engine/models/storyteller/reranker"
)
def test_the_shipped_scorer_prefers_stories_to_their_shuffled_selves() -> None:
    reranker = loaded(SHIPPED)
    rng = random.Random(1)
    right = 0
    for text in WRITTEN:
        spoilt = [shuffle_sentences(text, rng) or "" for _ in range(5)]
        first, *others = reranker.scores(StoryRequest(), [("A story", each) for each in (text, *spoilt)])
        right += sum(first > other for other in others)
    assert right >= 10
