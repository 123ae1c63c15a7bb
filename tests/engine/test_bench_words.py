"""`wordtale bench words` through the command line, and its reader against a plain pass of transformers."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from engine.bench.words import MOST_WORDS, WAYS, Judge
from engine.cli import bench_app
from engine.prompts import Codec
from tests import tiny_model

TEXT = "Tom had dinner by the sea."


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_model.build(folder / "storyteller")
    tiny_model.build_gpt2(folder / "tiny-gpt2")
    return folder


def test_each_way_of_keeping_words_has_its_figures(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORDTALE_ENGINE_MODELS_DIR", str(models))
    options = ["--requests", "5", "--n", "2", "--judge", str(models / "tiny-gpt2"), "--json"]
    answer = CliRunner().invoke(bench_app, ["words", *options])
    assert answer.exit_code == 0, answer.output
    figures = json.loads(answer.stdout.splitlines()[-1])
    assert [row["way"] for row in figures["rows"]] == list(WAYS)
    assert figures["judge"].startswith("tiny-gpt2")
    for row in figures["rows"]:
        assert set(row["by_words"]) == {str(count) for count in range(1, MOST_WORDS + 1)}
        assert row["bits_per_byte"] > 0
        assert row["last_word"] is None or 0 <= row["last_word"] <= 1
    kept = {row["way"]: row["by_words"] for row in figures["rows"]}
    assert kept["held"]["1"] == kept["best"]["1"] == 1.0
    assert all(kept["held"][count] >= kept["raw"][count] for count in kept["raw"])


def test_a_story_costs_what_a_plain_pass_says(models: Path) -> None:
    folder = models / "tiny-gpt2"
    codec = Codec.from_directory(folder)
    judge = Judge(folder)
    start = judge.model.family.encode_plain(codec, "")
    ids = torch.tensor([[*start, *codec.plain(TEXT)]])
    with torch.inference_mode():
        logits = AutoModelForCausalLM.from_pretrained(folder).eval()(ids).logits[0].log_softmax(-1)
    wanted = -logits[len(start) - 1 : -1].gather(1, ids[0, len(start) :, None]).sum().item() / math.log(2)
    bits, size = judge.bits(TEXT)
    assert size == len(TEXT)
    assert bits == pytest.approx(wanted, rel=0.02)
