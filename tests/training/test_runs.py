"""Training runs through the command line: the whole path, kill -9, resume, divergence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from engine.prompts import Codec, Storyteller
from engine.schema import StoryRequest
from training.checkpoint import STATE, load_state
from training.cli import app
from training.config import TrainingSettings
from training.loop import DivergedError
from training.recipe import load_recipe
from training.runs import open_stage

RUN = [sys.executable, "-c", "from training.cli import app; app()"]


def command(folder: Path, recipe: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*RUN, *arguments, "--folder", str(folder), "--recipe", str(recipe)],
        env={
            **os.environ,
            "WORDTALE_TRAINING_THREADS": "1",
            "WORDTALE_TRAINING_COMPILE": "0",
            "OMP_NUM_THREADS": "1",
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def prepared(corpus: Path, recipe_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    runner = CliRunner()
    done = runner.invoke(app, ["prepare", "--corpus", str(corpus), "--folder", str(folder)])
    assert done.exit_code == 0, done.output
    assert "CC0-1.0" in done.output
    assert "Data card" in done.output
    done = runner.invoke(app, ["tokenizer", "--folder", str(folder), "--recipe", str(recipe_file)])
    assert done.exit_code == 0, done.output
    return folder


def copy_of(prepared: Path, folder: Path) -> Path:
    folder.mkdir()
    (folder / "data").symlink_to(prepared / "data")
    (folder / "tokenizer.json").symlink_to(prepared / "tokenizer.json")
    return folder


def test_a_killed_run_ends_with_the_very_weights_of_one_left_alone(
    prepared: Path, recipe_file: Path, tmp_path: Path
) -> None:
    whole, broken = copy_of(prepared, tmp_path / "whole"), copy_of(prepared, tmp_path / "broken")
    alone = command(whole, recipe_file, "pretrain", "--tokens", "30000")
    victim = command(
        broken, recipe_file, "pretrain", "--tokens", "30000", WORDTALE_TRAINING_SAVE_SECONDS="0.05"
    )
    state = broken / "pretrain" / STATE
    deadline = time.monotonic() + 90
    while not state.exists() and victim.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    interrupted = load_state(broken / "pretrain")
    assert interrupted is not None
    assert 0 < interrupted["progress"]["tokens"] < 30000
    again = command(broken, recipe_file, "pretrain", "--tokens", "30000")
    output, _ = again.communicate(timeout=120)
    assert again.returncode == 0, output
    assert "its checkpoint" in output
    text, _ = alone.communicate(timeout=120)
    assert alone.returncode == 0, text
    first, second = load_state(whole / "pretrain"), load_state(broken / "pretrain")
    assert first is not None
    assert second is not None
    assert first["progress"]["step"] == second["progress"]["step"]
    for part in ("model", "average"):
        for name, value in first[part].items():
            assert torch.equal(value, second[part][name]), name


def test_a_stopped_run_leaves_a_checkpoint_and_ends_well(
    prepared: Path, recipe_file: Path, tmp_path: Path
) -> None:
    folder = copy_of(prepared, tmp_path / "run")
    run = command(folder, recipe_file, "pretrain")
    assert run.stdout is not None
    for line in run.stdout:
        if "starts from fresh weights" in line:
            break
    # The handler is set when the loop begins writing its curves.
    deadline = time.monotonic() + 60
    while not list(folder.glob("pretrain/tensorboard/events*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    run.terminate()
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 0, output
    assert load_state(folder / "pretrain") is not None


def test_from_nothing_to_a_model_that_transformers_loads(
    prepared: Path, recipe_file: Path, tmp_path: Path
) -> None:
    folder = copy_of(prepared, tmp_path / "run")
    runner = CliRunner()
    common = ["--folder", str(folder), "--recipe", str(recipe_file)]
    first = runner.invoke(app, ["pretrain", "--tokens", "6000", *common])
    assert first.exit_code == 0, first.output
    assert "held-out bits per byte" in first.output
    base, out = tmp_path / "base", tmp_path / "model"
    export = ["--folder", str(folder), "--recipe", str(recipe_file)]
    assert runner.invoke(app, ["export", str(base), "--stage", "pretrain", *export]).exit_code == 0
    second = runner.invoke(app, ["finetune", "--from", str(base), *common])
    assert second.exit_code == 0, second.output
    done = runner.invoke(app, ["export", str(out), *export])
    assert done.exit_code == 0, done.output
    card = json.loads((out / "wordtale.json").read_text(encoding="utf-8"))
    assert card["tokens_seen"] >= 10000
    assert card["bits_per_byte"]["wordtale_stories"] > 0
    assert list(tmp_path.glob("*.part")) == []
    weights = load_file(out / "model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.bfloat16}
    # Tied embeddings are stored once.
    assert sum(value.numel() for value in weights.values()) == card["parameters"]
    model = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32)
    codec = Codec.from_directory(out)
    prompt = Storyteller().encode(codec, StoryRequest(words=["Tom"]))
    assert model(torch.tensor([prompt])).logits.shape[-1] == codec.size
    # The events of TensorBoard stand beside the checkpoint.
    assert list((folder / "finetune" / "tensorboard").glob("events*"))


def test_a_loss_that_is_no_number_stops_and_leaves_the_last_checkpoint(
    prepared: Path, recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = TrainingSettings(folder=copy_of(prepared, tmp_path / "run"), threads=1)
    trainer = open_stage(settings, "pretrain", lambda line: None, recipe=load_recipe(str(recipe_file)))
    trainer.train(max_tokens=2000)
    kept = (settings.folder / "pretrain" / STATE).read_bytes()
    with torch.no_grad():
        trainer.model.model.embed_tokens.weight.fill_(float("nan"))
    with pytest.raises(DivergedError):
        trainer.train(max_tokens=4000, save_seconds=0)
    assert (settings.folder / "pretrain" / STATE).read_bytes() == kept


def test_two_trainers_never_share_a_folder(prepared: Path, recipe_file: Path, tmp_path: Path) -> None:
    settings = TrainingSettings(folder=copy_of(prepared, tmp_path / "run"), threads=1)
    first = open_stage(settings, "pretrain", lambda line: None, recipe=load_recipe(str(recipe_file)))
    done = CliRunner().invoke(
        app, ["pretrain", "--folder", str(settings.folder), "--recipe", str(recipe_file)]
    )
    assert done.exit_code == 1
    assert "another training run" in done.output
    first.close()


def test_errors_are_sentences(tmp_path: Path) -> None:
    runner = CliRunner()
    nothing = runner.invoke(app, ["prepare", "--corpus", str(tmp_path), "--folder", str(tmp_path / "out")])
    assert (nothing.exit_code, nothing.output.startswith("error: no known source")) == (1, True)
    unknown = runner.invoke(app, ["pretrain", "--recipe", "nosuch", "--folder", str(tmp_path / "out")])
    assert (unknown.exit_code, "no recipe called nosuch" in unknown.output) == (1, True)
    empty = runner.invoke(app, ["export", str(tmp_path / "model"), "--folder", str(tmp_path / "out")])
    assert empty.exit_code == 1
    assert "Traceback" not in empty.output
