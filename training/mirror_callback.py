"""Mirroring while training: a thread that uploads, and the trainer callback that feeds it.

Nothing here waits for the network in the training thread, and no fault of the mirror reaches it. Works with
any trainer that calls transformers' callbacks. Knows nothing of how files are laid out in the mirror.
"""

from __future__ import annotations

import os
import shutil
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers.trainer_callback import TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from training.checkpoint import STATE
from training.mirror import Mirror

FIRST_WAIT, LONGEST_WAIT = 5.0, 300.0
# The files of our own stages that make a checkpoint, the one that decides last.
STAGE_FILES = ("tokenizer.json", STATE)
LOG_PATTERNS = ("tensorboard/**/events*", "runs/**/events*", "samples.md")
_QUEUE = ".mirror"
_RUN = "run_id"


@dataclass(frozen=True)
class _Job:
    step: int
    run: str
    folder: Path
    files: tuple[str, ...]


class Uploads(threading.Thread):
    """Uploads the newest checkpoint and changed logs, for as long as it takes.

    A checkpoint still waiting when the next one comes is dropped for it. When the mirror fails, it says so
    once, waits `first_wait` seconds, then twice as long each time up to five minutes, and says so when the
    mirror is back. A daemon: a hanging connection never keeps the process from ending.
    """

    def __init__(self, mirror: Mirror, report: Callable[[str], None], *, first_wait: float) -> None:
        super().__init__(name="mirror", daemon=True)
        self._mirror, self._report, self._first_wait = mirror, report, first_wait
        self._changed = threading.Condition()
        self._job: _Job | None = None
        self._logs: dict[str, Path] = {}
        self._sent: dict[str, int] = {}
        self._closing = False
        self._failing = False
        self._begun: tuple[int, str] | None = None

    def begin(self, step: int, run: str) -> None:
        """Start, and look at once whether the mirror can be written."""
        self._begun = (step, run)
        self.start()

    def checkpoint(self, job: _Job) -> None:
        """Take a checkpoint in its own folder, which is removed when it has been uploaded or replaced."""
        with self._changed:
            old, self._job = self._job, job
            self._changed.notify()
        if old is not None:
            shutil.rmtree(old.folder, ignore_errors=True)

    def logs(self, files: dict[str, Path]) -> None:
        """Take log files by name; those that have not grown since are not uploaded again."""
        with self._changed:
            self._logs.update(files)
            self._changed.notify()

    def close(self, seconds: float) -> bool:
        """Give what is left `seconds` to get through, one try if the mirror fails; whether all did."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self.join(seconds)
        return not self.is_alive() and not self._failing

    def run(self) -> None:
        """Work until closed and done."""
        wait = self._first_wait
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._has_work() or self._closing)
                if not self._has_work():
                    return
                last = self._closing
            try:
                self._work()
            # A file system raises what it likes, and none of it may reach training.
            except Exception as error:
                self._say_failing(error)
                if last:
                    return
                with self._changed:
                    self._changed.wait_for(lambda: self._closing, timeout=wait)
                wait = min(2 * wait, LONGEST_WAIT)
            else:
                wait = self._first_wait

    def _has_work(self) -> bool:
        return self._begun is not None or self._job is not None or bool(self._logs)

    def _work(self) -> None:
        if self._begun is not None:
            self._look(*self._begun)
            self._begun = None
        with self._changed:
            job, logs = self._job, dict(self._logs)
        if job is not None:
            self._mirror.push(job.step, job.run, {name: job.folder / name for name in job.files})
            with self._changed:
                if self._job is job:
                    self._job = None
            shutil.rmtree(job.folder, ignore_errors=True)
        for name, path in logs.items():
            size = path.stat().st_size
            if self._sent.get(name) != size:
                self._mirror.push_log(name, path)
                self._sent[name] = size
        with self._changed:
            for name in logs:
                self._logs.pop(name, None)
        if self._failing:
            self._failing = False
            self._report(f"the mirror {self._mirror} can be written again")

    def _look(self, step: int, run: str) -> None:
        self._mirror.check()
        ahead = next(iter(self._mirror.checkpoints()), None)
        if ahead is not None and ahead.step > step:
            whose = "this run" if ahead.run == run else "another run"
            self._report(
                f"the mirror {self._mirror} holds step {ahead.step:,} of {whose}, further than the "
                f"{step:,} here; it stays, and an empty folder would go on from it"
            )

    def _say_failing(self, error: Exception) -> None:
        if not self._failing:
            self._failing = True
            text = " ".join(str(error).split())[:200] or type(error).__name__
            self._report(
                f"the mirror {self._mirror} fails: {text}; training goes on, uploads are tried again"
            )


class MirrorCallback(TrainerCallback):  # type: ignore[misc]
    """Mirrors each checkpoint and the logs of a trainer's `output_dir`.

    For a Hugging Face Trainer a checkpoint is `checkpoint-<step>`, for our own `state.pt` with the tokenizer.
    `args` needs `output_dir` and `state` needs `global_step`; other processes than the first do nothing.
    """

    def __init__(
        self,
        mirror: Mirror,
        report: Callable[[str], None],
        *,
        first_wait: float = FIRST_WAIT,
        end_seconds: float = 60,
    ) -> None:
        self._mirror, self._report = mirror, report
        self._first_wait, self._end_seconds = first_wait, end_seconds
        self._uploads: Uploads | None = None
        self._run = ""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the thread; it warns early when the mirror can't be written."""
        if not getattr(state, "is_world_process_zero", True):
            return
        folder = Path(args.output_dir)
        shutil.rmtree(folder / _QUEUE, ignore_errors=True)
        self._run = run_id(folder)
        self._uploads = Uploads(self._mirror, self._report, first_wait=self._first_wait)
        self._uploads.begin(state.global_step, self._run)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take the checkpoint just written; later ones do not touch the files taken."""
        if self._uploads is None:
            return
        folder, step = Path(args.output_dir), int(state.global_step)
        whole = folder / f"{PREFIX_CHECKPOINT_DIR}-{step}"
        paths = sorted(whole.rglob("*")) if whole.is_dir() else [folder / name for name in STAGE_FILES]
        paths = [folder / _RUN, *(path for path in paths if path.is_file())]
        names = tuple(path.relative_to(folder).as_posix() for path in paths)
        held = folder / _QUEUE / f"{step}-{uuid.uuid4().hex[:8]}"
        try:
            for name in names:
                _hold(folder / name, held / name)
        except OSError as error:
            shutil.rmtree(held, ignore_errors=True)
            self._report(f"step {step:,} can't be mirrored: {error}")
            return
        self._uploads.checkpoint(_Job(step, self._run, held, names))
        self.on_log(args, state, control)

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take the logs as they are."""
        if self._uploads is None:
            return
        folder = Path(args.output_dir)
        found = [path for pattern in LOG_PATTERNS for path in folder.glob(pattern) if path.is_file()]
        self._uploads.logs({path.relative_to(folder).as_posix(): path for path in found})

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Give the last checkpoint a minute to get through."""
        if self._uploads is None:
            return
        self.on_log(args, state, control)
        if not self._uploads.close(self._end_seconds):
            self._report(
                f"the last state is not in the mirror {self._mirror}; it stands in {args.output_dir}"
            )
        self._uploads = None


def run_id(folder: Path) -> str:
    """Return the name of the run in a folder, made at its first start; it travels with its checkpoints."""
    path = folder / _RUN
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(uuid.uuid4().hex[:12], encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()


def _hold(source: Path, target: Path) -> None:
    """Link a file, or copy it where links can't be made."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
