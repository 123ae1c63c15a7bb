"""Mirrors of checkpoints: file:// and S3, a killed run elsewhere, a mirror that fails and comes back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from moto.server import ThreadedMotoServer
from transformers.trainer_callback import CallbackHandler, TrainerControl, TrainerState
from typer.testing import CliRunner

from training.checkpoint import STATE, load_state
from training.cli import app
from training.mirror import KEEP, Mirror
from training.mirror_callback import MirrorCallback

RUN = [sys.executable, "-c", "from training.cli import app; app()"]
BUCKET = "stories"


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """Serve the S3 protocol; yields a URL of a bucket."""
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        import s3fs

        s3fs.S3FileSystem().mkdir(BUCKET)
        yield f"s3://{BUCKET}"
    server.stop()


@pytest.fixture(params=["file", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file":
        return f"file://{tmp_path}/mirror"
    return f"{request.getfixturevalue('s3')}/{tmp_path.name}"


def _write(folder: Path, **files: str) -> dict[str, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return {name: folder / name for name in files}


def test_the_furthest_whole_checkpoint_comes_back(url: str, tmp_path: Path) -> None:
    mirror = Mirror(url)
    mirror.check()
    assert mirror.pull(tmp_path / "empty") is None
    for step in (5, 900, 1000, 1100):
        mirror.push(step, "run", _write(tmp_path / "from", a="first", b=f"step {step}"))
    mirror.push(3, "other", _write(tmp_path / "from", a="first", b="other"))
    assert [(c.step, c.run) for c in mirror.checkpoints()] == [(1100, "run"), (1000, "run"), (3, "other")]
    assert KEEP == 2
    log = _write(tmp_path / "from", log="line 1")["log"]
    mirror.push_log("tensorboard/log", log)
    found = Mirror(url).pull(tmp_path / "to")
    assert found is not None
    assert (tmp_path / "to" / "b").read_text() == "step 1100"
    assert (tmp_path / "to" / "tensorboard" / "log").read_text() == "line 1"
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == ["a", "b", "tensorboard"]


def test_damaged_and_half_uploaded_checkpoints_are_passed_over(tmp_path: Path) -> None:
    mirror = Mirror(f"file://{tmp_path}/mirror")
    for step in (1, 2):
        mirror.push(step, "run", _write(tmp_path / "from", b=f"step {step}"))
    newest = mirror.checkpoints()[0]
    (tmp_path / "mirror" / "checkpoints" / newest.name / "b").write_text("damage")
    half = tmp_path / "mirror" / "checkpoints" / newest.name.replace("000002-", "000009-")
    half.mkdir()
    (half / "b").write_text("step 9")
    found = mirror.pull(tmp_path / "to")
    assert found is not None
    assert found.step == 1
    assert (tmp_path / "to" / "b").read_text() == "step 1"


def test_a_hugging_face_trainer_mirrors_with_the_same_callback(tmp_path: Path) -> None:
    out, lines = tmp_path / "out", list[str]()
    callback = MirrorCallback(Mirror(f"file://{tmp_path}/mirror"), lines.append)
    handler = CallbackHandler([callback], None, None, None, None)
    handler.train_dataloader = handler.eval_dataloader = None
    args, state, control = SimpleNamespace(output_dir=str(out)), TrainerState(), TrainerControl()
    handler.call_event("on_train_begin", args, state, control)
    _write(out / "checkpoint-7", **{"model.safetensors": "weights"})
    _write(out / "runs" / "x", **{"events.out": "curve"})
    state.global_step = 7
    handler.call_event("on_save", args, state, control)
    handler.call_event("on_log", args, state, control, logs={})
    handler.call_event("on_train_end", args, state, control)
    assert lines == []
    Mirror(f"file://{tmp_path}/mirror").pull(tmp_path / "new")
    assert (tmp_path / "new" / "checkpoint-7" / "model.safetensors").read_text() == "weights"
    assert (tmp_path / "new" / "runs" / "x" / "events.out").read_text() == "curve"
    assert not list((out / ".mirror").glob("*"))


def test_a_mirror_that_fails_is_said_once_and_caught_up_with(tmp_path: Path) -> None:
    place, out, lines = tmp_path / "mirror", tmp_path / "out", list[str]()
    place.write_text("a file where the folder should be")
    callback = MirrorCallback(Mirror(f"file://{place}"), lines.append, first_wait=0.02, end_seconds=20)
    args, state, control = SimpleNamespace(output_dir=str(out)), TrainerState(), TrainerControl()
    callback.on_train_begin(args, state, control)
    for step in (1, 2, 3):
        _write(out, **{STATE: f"step {step}"})
        state.global_step = step
        callback.on_save(args, state, control)
    deadline = time.monotonic() + 20
    while not lines and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(lines) == 1
    assert "fails" in lines[0]
    assert "training goes on" in lines[0]
    place.unlink()
    callback.on_train_end(args, state, control)
    assert "can be written again" in lines[1]
    Mirror(f"file://{place}").pull(tmp_path / "new")
    assert (tmp_path / "new" / STATE).read_text() == "step 3"


def test_urls_that_nothing_reads_are_refused_with_a_sentence(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["pretrain", "--folder", str(tmp_path), "--mirror", "nosuch://place"])
    assert done.exit_code == 1
    assert "error: the mirror nosuch://place/pretrain can't be used" in done.output


def _command(folder: Path, recipe: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*RUN, "pretrain", "--folder", str(folder), "--recipe", str(recipe), *arguments],
        env={**os.environ, "WORDTALE_TRAINING_THREADS": "1", "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_killed_run_goes_on_from_its_mirror_on_an_empty_machine(
    url: str, corpus: Path, recipe_file: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    runner = CliRunner()
    assert runner.invoke(app, ["prepare", "--corpus", str(corpus), "--folder", str(first)]).exit_code == 0
    victim = _command(first, recipe_file, "--mirror", url, WORDTALE_TRAINING_SAVE_SECONDS="0.2")
    mirror = Mirror(f"{url}/pretrain")
    deadline = time.monotonic() + 120
    while not mirror.checkpoints() and victim.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    known = mirror.checkpoints()
    assert known
    second.mkdir()
    (second / "data").symlink_to(first / "data")
    again = _command(second, recipe_file, "--mirror", url, "--tokens", "1")
    output, _ = again.communicate(timeout=120)
    assert again.returncode == 0, output
    assert f"took step {known[0].step:,} from the mirror" in output
    assert "starts from its checkpoint" in output
    state = load_state(second / "pretrain")
    assert state is not None
    assert state["progress"]["step"] == known[0].step
    assert (second / "tokenizer.json").read_bytes() == (first / "tokenizer.json").read_bytes()
    assert len(list((second / "pretrain" / "tensorboard").glob("events*"))) >= 1
    assert torch.isfinite(state["model"]["lm_head.weight"]).all()
