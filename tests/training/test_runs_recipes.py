"""Recipes: overrides, schedules, comparing variants, the model card, all through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from training.cli import app
from training.optimizer import rate
from training.recipe import RecipeError, StageRecipe, load_recipe, parse_override


@pytest.fixture(scope="module")
def prepared(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    done = CliRunner().invoke(app, ["prepare", "--corpus", str(corpus), "--folder", str(folder)])
    assert done.exit_code == 0, done.output
    return folder


def stage(**values: object) -> StageRecipe:
    base = {"batch_tokens": 512, "muon_lr": 0.01, "adam_lr": 0.01, "ema": 0.9, "mix": {"a": 1.0}}
    return StageRecipe.model_validate({**base, **values})


def test_schedules_fall_where_they_say() -> None:
    constant, linear = stage(), stage(tokens=1000)
    wsd = stage(tokens=1000, schedule="wsd", decay_share=0.2, warmup_steps=4)
    flat = stage(tokens=1000, schedule="constant")
    assert [rate(constant, 9, n) for n in (0, 10**9)] == [1.0, 1.0]
    assert [rate(linear, 9, n) for n in (0, 500, 1000)] == [1.0, 0.5, 0.0]
    assert [rate(flat, 9, n) for n in (0, 999)] == [1.0, 1.0]
    assert rate(wsd, 1, 0) == 0.5
    assert [rate(wsd, 9, n) for n in (0, 800)] == pytest.approx([1.0, 1.0])
    assert [rate(wsd, 9, n) for n in (900, 1000)] == pytest.approx([0.5, 0.0])


def test_overrides_are_typed_and_checked(recipe_file: Path) -> None:
    chosen = ["finetune.muon_lr=0.02", "finetune.tokens=1_000", 'finetune.schedule="wsd"', "pretrain.ema=0"]
    recipe = load_recipe(str(recipe_file), [*chosen, "finetune.mix.tinystories=0.5", "family=storyteller"])
    assert (recipe.finetune.muon_lr, recipe.finetune.tokens, recipe.pretrain.ema) == (0.02, 1000, 0)
    assert (recipe.finetune.schedule, recipe.finetune.mix["tinystories"]) == ("wsd", 0.5)
    assert load_recipe(str(recipe_file), ["finetune.tokens=none"]).finetune.schedule == "constant"
    words = load_recipe(str(recipe_file), ["finetune.words={own=1, storyline=0, random=0}"]).finetune.words
    assert words is not None
    for text, sentence in (
        ("finetune.muon_lr=-1", "finetune.muon_lr: Input should be greater than 0"),
        ("finetune.muon=1", "finetune.muon: there is no such value"),
        ("finetune.muon_lr", "is not NAME=VALUE"),
        ("pretrain.schedule=linear", "pretrain: schedule linear needs tokens"),
        ("seed.x=1", "seed is a value, not a table"),
        ("model.num_attention_heads=5", "must be an even whole number"),
    ):
        with pytest.raises(RecipeError, match=sentence.replace(".", r"\.")):
            load_recipe(str(recipe_file), [text])


@given(st.text(max_size=60))
def test_any_override_is_read_or_refused(text: str) -> None:
    try:
        name, _ = parse_override(text)
    except RecipeError:
        return
    assert name
    assert all(name.split("."))


def test_variants_are_compared_and_done_ones_left_alone(
    prepared: Path, recipe_file: Path, tmp_path: Path
) -> None:
    runner, work = CliRunner(), tmp_path / "work"
    work.mkdir()
    (work / "data").symlink_to(prepared / "data")
    common = ["--folder", str(work), "--recipe", str(recipe_file)]
    assert runner.invoke(app, ["pretrain", "--tokens", "1000", *common]).exit_code == 0
    base = tmp_path / "base"
    assert runner.invoke(app, ["export", str(base), "--stage", "pretrain", *common]).exit_code == 0
    plan = tmp_path / "plan.toml"
    plan.write_text(
        f"""
recipe = "{recipe_file}"
set = {{ "finetune.tokens" = 1500 }}
[[variant]]
name = "slow"
group = "rate"
set = {{ "finetune.muon_lr" = 0.001 }}
[[variant]]
name = "own-words"
group = "words"
set = {{ "finetune.words" = {{ own = 1, storyline = 0, random = 0 }} }}
[[variant]]
name = "small"
group = "vocabulary"
stage = "pretrain"
afresh = true
set = {{ "tokenizer.vocabulary" = 380, "pretrain.tokens" = 1500, "model.num_hidden_layers" = 1 }}
""",
        encoding="utf-8",
    )
    out = tmp_path / "variants"
    arguments = [
        "ablate",
        str(plan),
        "--from",
        str(base),
        "--folder",
        str(out),
        "--data",
        str(prepared / "data"),
    ]
    first = runner.invoke(app, [*arguments, "--only", "rate"])
    assert first.exit_code == 0, first.output
    second = runner.invoke(app, arguments)
    assert second.exit_code == 0, second.output
    assert "slow: done before" in second.output
    results = {row["name"]: row for row in json.loads((out / "ablations.json").read_text(encoding="utf-8"))}
    assert list(results) == ["slow", "own-words", "small"]
    assert results["small"]["parameters"] < results["slow"]["parameters"]
    assert all(
        row["tokens"] >= 1500 and row["bits_per_byte"]["wordtale_stories"] > 0 for row in results.values()
    )
    table = (out / "ablations.md").read_text(encoding="utf-8")
    assert "## rate" in table
    assert f"| {results['small']['bits_per_byte']['wordtale_stories']:.4f} |" in table
    wrong = runner.invoke(app, ["ablate", str(plan), "--folder", str(out), "--only", "rate"])
    assert (wrong.exit_code, "give them with --from" in wrong.output) == (1, True)


def test_a_model_carries_its_card(prepared: Path, recipe_file: Path, tmp_path: Path) -> None:
    runner, work, out = CliRunner(), tmp_path / "work", tmp_path / "model"
    work.mkdir()
    (work / "data").symlink_to(prepared / "data")
    common = ["--folder", str(work), "--recipe", str(recipe_file)]
    done = runner.invoke(app, ["pretrain", "--tokens", "1000", "--set", "pretrain.muon_lr=0.02", *common])
    assert done.exit_code == 0, done.output
    samples = (work / "pretrain" / "samples.md").read_text(encoding="utf-8")
    assert samples.startswith("## 1,")
    assert samples.count("\n- [") == 3
    scores = tmp_path / "scores.json"
    row = {"key": "words_raw", "title": "all words used, raw draft", "better": "more", "share": True}
    column = {
        "name": "m",
        "kind": "model",
        "stories": 40,
        "figures": {"words_raw": {"value": 0.25, "count": 40}},
    }
    measured = {
        "command": "wordtale train evaluate m",
        "suite_sha256": "0",
        "requests": 40,
        "seed": 1,
        "candidates": None,
        "judge": "m",
        "held_out_sha256": "0",
        "training_documents": 9,
        "rows": [row],
        "columns": [column],
    }
    scores.write_text(json.dumps(measured), encoding="utf-8")
    export = ["export", str(out), "--stage", "pretrain", "--scorecard", str(scores), *common]
    done = runner.invoke(app, export)
    assert done.exit_code == 0, done.output
    card = json.loads((out / "wordtale.json").read_text(encoding="utf-8"))
    assert {"name": "wordtale_stories", "licence": "CC0-1.0"} in card["sources"]
    assert card["scorecard"]["figures"] == {"words_raw": 0.25}
    text = (out / "README.md").read_text(encoding="utf-8")
    assert text.startswith("---\nlicense: apache-2.0\nlanguage:\n- en\npipeline_tag: text-generation\n")
    assert "| all words used, raw draft | ↑ | 25.0% |" in text
    assert "Written by `wordtale train evaluate m`" in text
    assert "- **wordtale_stories** (CC0-1.0)" in text
    assert "wordtale train pretrain --tokens" in text
    scores.write_text("[]", encoding="utf-8")
    done = runner.invoke(app, export)
    assert (done.exit_code, "holds no scorecard" in done.output) == (1, True)
