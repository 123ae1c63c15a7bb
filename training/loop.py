"""The training loop: steps, checkpoints, curves, samples; resumable at any point.

Knows nothing of where the data came from, nor of where callbacks send what was written.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from transformers.trainer_callback import TrainerCallback, TrainerControl, TrainerState

from engine.prompts.codec import Codec
from training.checkpoint import SaveError, lack_of_room, save_state
from training.curves import Curves
from training.data.stream import Stream
from training.evaluate import HELD_OUT_SOURCES, bits_per_byte, held_out, samples
from training.gradients import Gradients
from training.machine import Machine
from training.optimizer import Average, build_optimizers, rate, set_rate
from training.recipe import StageRecipe

CLIP = 1.0
SHOW_SECONDS = 30
HELD_OUT_DOCUMENTS = 150


class DivergedError(RuntimeError):
    """The loss or its gradient is not a number; the last good checkpoint stands."""


@dataclass
class Progress:
    """How far a run is. `tokens` counts this stage, `tokens_before` all stages before it, `seconds` the time
    spent training this stage, evaluations and checkpoints included."""

    step: int = 0
    tokens: int = 0
    tokens_before: int = 0
    held_out: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def tokens_total(self) -> int:
        """Tokens that the weights have seen in all."""
        return self.tokens + self.tokens_before


class Trainer:
    """Runs one stage in a folder of its own, which the caller has locked (`lock`).

    With a `checkpoint` it goes on with the very next batch; else it starts from the weights that `model`
    holds. The recipe's rates hold, also where the checkpoint was made with others. `callbacks` are those of a
    Hugging Face Trainer; they get an `args` with `output_dir` and a `state` with `global_step`.
    """

    def __init__(
        self,
        model: Any,
        codec: Codec,
        stream: Stream,
        stage: StageRecipe,
        *,
        folder: Path,
        data: Path,
        machine: Machine,
        context: int,
        tokens_before: int,
        report: Callable[[str], None],
        lock: int | None = None,
        checkpoint: dict[str, Any] | None = None,
        callbacks: Sequence[TrainerCallback] = (),
    ) -> None:
        self.machine = machine
        self.model = model.to(machine.device)
        self.model.train()
        self._gradients = Gradients(self.model, machine, report)
        self.codec, self.stream, self.stage = codec, stream, stage
        self.folder, self.data, self.context = folder, data, context
        self.report, self.callbacks = report, list(callbacks)
        self._lock = lock
        self.optimizers = build_optimizers(self.model, stage)
        self.average = Average(self.model, stage.ema)
        self.progress = Progress(tokens_before=tokens_before)
        self.resumed = checkpoint is not None
        if checkpoint is not None:
            self._resume(checkpoint)
        self._saved_step: int | None = self.progress.step if self.resumed else None
        self._stop = threading.Event()
        self._tight = self._unsaved = False

    def _resume(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            groups = [(group["peak"], group["weight_decay"]) for group in optimizer.param_groups]
            optimizer.load_state_dict(saved)
            for group, (peak, decay) in zip(optimizer.param_groups, groups, strict=True):
                if (group["peak"], group["weight_decay"]) != (peak, decay):
                    self.report(f"the rate's peak is {peak:g} now, {group['peak']:g} in the checkpoint")
                group["peak"], group["weight_decay"] = peak, decay
        self.average.weights = {k: v.to(self.machine.device) for k, v in state["average"].items()}
        self.average.updates = state["average_updates"]
        self.stream.seek(state["position"])
        self.progress = Progress(**state["progress"])

    def stop(self) -> None:
        """Ask a running `train` to end after its step, with a checkpoint; safe in a signal handler."""
        self._stop.set()

    def close(self) -> None:
        """Give the folder back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def save(self) -> None:
        """Write the checkpoint. Raises SaveError when it can't be written; the one before stands then."""
        save_state(
            self.folder,
            {
                "model": self.model.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
                "average": self.average.weights,
                "average_updates": self.average.updates,
                "position": self.stream.position,
                "progress": vars(self.progress),
            },
        )
        self._saved_step, self._unsaved = self.progress.step, False
        self._tell("on_save")

    def train(
        self,
        *,
        max_tokens: int | None = None,
        save_seconds: float = 300,
        evaluate_seconds: float = 1200,
    ) -> Progress:
        """Train to the stage's tokens, to `max_tokens` of it, or to `stop`; checkpoint as it goes.

        A checkpoint that can't be written is tried again later. Raises SaveError when that goes for the last
        one, and DivergedError when loss or gradient is not finite: nothing is saved then.
        """
        limit = min(x for x in (self.stage.tokens, max_tokens, 10**15) if x is not None)
        curves = Curves(self.folder)
        self._tell("on_train_begin")
        self._watch_room()
        try:
            self._until(limit, curves, save_seconds, evaluate_seconds)
            self.save()
            if not self._stop.is_set():
                self.evaluate(curves)
                self.save()
        finally:
            curves.close()
            self._tell("on_train_end")
        return self.progress

    def _until(self, limit: int, curves: Curves, save_seconds: float, evaluate_seconds: float) -> None:
        began = saved = evaluated = since = time.monotonic()
        before, window, window_tokens = self.progress.seconds, 0.0, 0
        while self.progress.tokens < limit and not self._stop.is_set():
            loss, tokens = self._step()
            window += loss * tokens
            window_tokens += tokens
            now = time.monotonic()
            self.progress.seconds = before + now - began
            if now - since > SHOW_SECONDS or self.progress.tokens >= limit:
                self._show(curves, window / window_tokens, window_tokens / (now - since))
                since, window, window_tokens = now, 0.0, 0
            if now - evaluated > evaluate_seconds:
                self.evaluate(curves)
                evaluated = time.monotonic()
            if now - saved > save_seconds:
                self._try_to_save()
                saved = time.monotonic()

    def _show(self, curves: Curves, loss: float, speed: float) -> None:
        self._log(curves, {"loss/train": loss, "speed/tokens_per_second": speed})
        self.report(
            f"step {self.progress.step:,}  tokens {self.progress.tokens_total:,}  "
            f"loss {loss:.3f}  {speed:,.0f} tokens/s"
        )

    def _try_to_save(self) -> None:
        """Save; a full disk is said once and costs no training, the checkpoint before stands."""
        self._watch_room()
        try:
            self.save()
        except SaveError as error:
            if not self._unsaved:
                self._unsaved = True
                self.report(f"{error}; {self._standing()}; training goes on, the next save is tried as usual")

    def _watch_room(self) -> None:
        """Say when the disk gets too full for two checkpoints: the one that stands, the one being written."""
        # Weights, their average, and at most two figures of each in the optimizers, 4 bytes apiece.
        size = 16 * sum(parameter.numel() for parameter in self.model.parameters())
        lack = lack_of_room(self.folder, size)
        if lack is not None and not self._tight:
            self.report(f"warning: {lack}")
        self._tight = lack is not None

    def _standing(self) -> str:
        if self._saved_step is None:
            return "there is no checkpoint yet"
        return f"the checkpoint of step {self._saved_step:,} stands"

    def _step(self) -> tuple[float, int]:
        set_rate(self.optimizers, rate(self.stage, self.progress.step, self.progress.tokens))
        batch = self.stream.next()
        value = self._gradients.add(batch)
        norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP))
        if not math.isfinite(value) or not math.isfinite(norm):
            raise DivergedError(
                f"the loss is {value}, its gradient {norm} at step {self.progress.step:,}; {self._standing()}"
            )
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.average.update(self.model)
        self.progress.step += 1
        self.progress.tokens += batch.tokens
        return value, batch.tokens

    def evaluate(self, curves: Curves | None = None) -> dict[str, float]:
        """Measure the averaged weights on held-out texts and report samples; returns bits per byte."""
        began = time.monotonic()
        self.average.swap(self.model)
        for source in HELD_OUT_SOURCES:
            documents = held_out(self.data, source, HELD_OUT_DOCUMENTS)
            if documents:
                self.progress.held_out[source] = bits_per_byte(
                    self.model,
                    self.codec,
                    documents,
                    self.context,
                    bf16=self.machine.bf16,
                    device=self.machine.device,
                )
        texts = samples(self.model, self.codec, seed=0, device=self.machine.device)
        self.average.swap(self.model)
        seconds = time.monotonic() - began
        if curves is not None:
            curves.samples(texts, self.progress.tokens_total, self.progress.held_out)
            figures = {f"bits_per_byte/{k}": v for k, v in self.progress.held_out.items()}
            self._log(curves, {**figures, "speed/evaluation_seconds": seconds})
        tokens = f"{self.progress.tokens_total:,}"
        figures_line = "  ".join(f"{name} {value:.4f}" for name, value in self.progress.held_out.items())
        self.report(f"held-out bits per byte at {tokens} tokens: {figures_line}  ({seconds:.0f} s)")
        for text in texts:
            self.report("  " + text)
        return self.progress.held_out

    def _log(self, curves: Curves, figures: dict[str, float]) -> None:
        curves.figures(figures, self.progress.tokens_total)
        self._tell("on_log", logs=figures)

    def _tell(self, event: str, **values: Any) -> None:
        args = SimpleNamespace(output_dir=str(self.folder))
        state, control = TrainerState(global_step=self.progress.step), TrainerControl()
        for callback in self.callbacks:
            getattr(callback, event)(args, state, control, **values)
