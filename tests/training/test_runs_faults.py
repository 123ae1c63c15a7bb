"""What goes wrong while training: full disks, foreign tokenizers, bad gradients, failing compilers."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from tests.tiny_model import build
from training.checkpoint import STATE, SaveError, load_state
from training.cli import app
from training.config import TrainingSettings
from training.loop import DivergedError, Trainer
from training.recipe import load_recipe
from training.runs import open_stage

RUN = [sys.executable, "-c", "from training.cli import app; app()"]


@pytest.fixture(scope="module")
def prepared(corpus: Path, recipe_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    runner = CliRunner()
    assert runner.invoke(app, ["prepare", "--corpus", str(corpus), "--folder", str(folder)]).exit_code == 0
    done = runner.invoke(app, ["tokenizer", "--folder", str(folder), "--recipe", str(recipe_file)])
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def folder(prepared: Path, tmp_path: Path) -> Path:
    path = tmp_path / "run"
    path.mkdir()
    (path / "data").symlink_to(prepared / "data")
    (path / "tokenizer.json").write_bytes((prepared / "tokenizer.json").read_bytes())
    return path


def opened(folder: Path, recipe_file: Path, lines: list[str]) -> Trainer:
    settings = TrainingSettings(folder=folder, threads=1)
    return open_stage(settings, "pretrain", lines.append, recipe=load_recipe(str(recipe_file)))


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let no file grow beyond `size` bytes: writing more fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_keeps_the_old_checkpoint_and_training_goes_on(folder: Path, recipe_file: Path) -> None:
    lines: list[str] = []
    trainer = opened(folder, recipe_file, lines)
    trainer.train(max_tokens=1000)
    kept = (folder / "pretrain" / STATE).read_bytes()
    with file_size_limit(len(kept) // 2), pytest.raises(SaveError):
        trainer.train(max_tokens=4000, save_seconds=1e-9)
    trainer.close()
    assert (folder / "pretrain" / STATE).read_bytes() == kept
    assert not list((folder / "pretrain").glob("*.part"))
    # Said once, though every step tried to save.
    assert len([line for line in lines if "training goes on" in line]) == 1
    again = opened(folder, recipe_file, lines)
    assert again.train(max_tokens=4000).tokens >= 4000


def test_a_gradient_that_is_no_number_stops_before_it_reaches_a_checkpoint(
    folder: Path, recipe_file: Path
) -> None:
    trainer = opened(folder, recipe_file, [])
    trainer.train(max_tokens=1000)
    handle = trainer.model.model.norm.weight.register_hook(lambda gradient: gradient * float("nan"))
    with pytest.raises(DivergedError, match=r"the checkpoint of step .* stands"):
        trainer.train(max_tokens=2000, save_seconds=1e-9)
    handle.remove()
    state = load_state(folder / "pretrain")
    assert state is not None
    assert all(torch.isfinite(value).all() for value in state["model"].values())


def test_weights_with_another_tokenizer_are_refused(folder: Path, recipe_file: Path, tmp_path: Path) -> None:
    other = build(tmp_path / "other")
    arguments = ["pretrain", "--folder", str(folder), "--recipe", str(recipe_file), "--from", str(other)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert "have another tokenizer than" in done.output
    assert not (folder / "pretrain" / STATE).exists()


def test_a_recipe_of_another_shape_does_not_take_up_a_checkpoint(folder: Path, recipe_file: Path) -> None:
    common = ["pretrain", "--folder", str(folder), "--recipe", str(recipe_file), "--tokens", "500"]
    assert CliRunner().invoke(app, common).exit_code == 0
    done = CliRunner().invoke(app, [*common, "--set", "model.hidden_size=64"])
    assert done.exit_code == 1
    assert "another shape or vocabulary" in done.output


def test_background_starts_from_weights_and_goes_on_after_sigterm(
    corpus: Path, folder: Path, recipe_file: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    common = ["--folder", str(folder), "--recipe", str(recipe_file)]
    runner = CliRunner()
    assert runner.invoke(app, ["pretrain", "--tokens", "600", *common]).exit_code == 0
    assert runner.invoke(app, ["export", str(base), "--stage", "pretrain", *common]).exit_code == 0
    (folder / "pretrain" / STATE).unlink()
    seen = []
    for expected in (f"starts from {base}", "starts from its checkpoint"):
        run = subprocess.Popen(
            [*RUN, "background", "--corpus", str(corpus), "--from", str(base), *common],
            env={**os.environ, "WORDTALE_TRAINING_SAVE_SECONDS": "0.2"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        before = seen[-1] if seen else -1
        deadline = time.monotonic() + 120
        while run.poll() is None and time.monotonic() < deadline:
            state = load_state(folder / "pretrain")
            if state is not None and state["progress"]["tokens"] > before:
                break
            time.sleep(0.1)
        run.send_signal(signal.SIGTERM)
        output, _ = run.communicate(timeout=60)
        assert run.returncode == 0, output
        assert expected in output
        state = load_state(folder / "pretrain")
        assert state is not None
        assert state["progress"]["tokens"] > before
        assert state["progress"]["tokens_before"] >= 600
        seen.append(state["progress"]["tokens"])


def test_a_compiler_that_fails_costs_its_speed_alone(
    folder: Path, recipe_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(graph: object, inputs: object) -> None:
        raise OSError("no room for the compiler's files")

    compile_network = torch.compile
    monkeypatch.setattr(torch, "compile", lambda network, **_: compile_network(network, backend=broken))
    monkeypatch.setattr("training.machine.shutil.which", lambda name: f"/usr/bin/{name}")
    lines: list[str] = []
    settings = TrainingSettings(folder=folder, threads=1, compile=True)
    recipe = load_recipe(str(recipe_file))
    trainer = open_stage(settings, "pretrain", lines.append, recipe=recipe)
    assert trainer.train(max_tokens=1000).tokens >= 1000
    assert len([line for line in lines if "training goes on uncompiled" in line]) == 1
    trainer.close()
