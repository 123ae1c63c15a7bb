"""The training loop: steps, checkpoints, curves, samples; resumable at any point.

Knows nothing of where the data came from.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from torch.utils.tensorboard import SummaryWriter

from engine.prompts.codec import Codec
from training.checkpoint import load_state, lock_folder, save_state
from training.data.examples import IGNORE
from training.data.stream import Batch, Stream
from training.evaluate import HELD_OUT_SOURCES, bits_per_byte, held_out, samples
from training.machine import Machine
from training.optimizer import Average, build_optimizers, rate, set_rate
from training.recipe import StageRecipe

CLIP = 1.0
CPU_MICRO_TOKENS = 2048


class DivergedError(RuntimeError):
    """The loss is not a number; the last good checkpoint stands."""


@dataclass
class Progress:
    """How far a run is. `tokens` counts this stage, `tokens_before` all stages before it."""

    step: int = 0
    tokens: int = 0
    tokens_before: int = 0
    held_out: dict[str, float] = field(default_factory=dict)

    @property
    def tokens_total(self) -> int:
        """Tokens that the weights have seen in all."""
        return self.tokens + self.tokens_before


class Trainer:
    """Runs one stage in a folder of its own.

    A folder with a checkpoint is resumed, with the very next batch; else training starts from the weights
    that `model` holds. Raises BusyError while another run works in the folder.
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
    ) -> None:
        self.machine = machine
        self.model = model.to(machine.device)
        self.model.train()
        self._network = self._fast_network()
        self.codec, self.stream, self.stage = codec, stream, stage
        self.folder, self.data, self.context = folder, data, context
        self.report = report
        self._lock: int | None = lock_folder(folder)
        self.optimizers = build_optimizers(self.model, stage)
        self.average = Average(self.model, stage.ema)
        self.progress = Progress(tokens_before=tokens_before)
        self.resumed = self._resume()
        self._stop = threading.Event()

    def _fast_network(self) -> Any:
        """Return what the loss runs through: on a CPU plain attention and compiled layers are faster."""
        if self.machine.device != "cpu":
            return self.model.model
        self.model.set_attn_implementation("eager")
        return torch.compile(self.model.model, dynamic=True) if self.machine.compiled else self.model.model

    def _resume(self) -> bool:
        state = load_state(self.folder)
        if state is None:
            return False
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.average.weights = {k: v.to(self.machine.device) for k, v in state["average"].items()}
        self.average.updates = state["average_updates"]
        self.stream.seek(state["position"])
        self.progress = Progress(**state["progress"])
        return True

    def stop(self) -> None:
        """Ask a running `train` to end after its step, with a checkpoint; safe in a signal handler."""
        self._stop.set()

    def close(self) -> None:
        """Give the folder back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def save(self) -> None:
        """Write the checkpoint."""
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

    def train(
        self,
        *,
        max_tokens: int | None = None,
        save_seconds: float = 300,
        evaluate_seconds: float = 1200,
    ) -> Progress:
        """Train to the stage's tokens, to `max_tokens` of it, or to `stop`; checkpoint as it goes.

        Raises DivergedError when the loss is not finite: nothing is saved then.
        """
        limit = min(x for x in (self.stage.tokens, max_tokens, 10**15) if x is not None)
        writer = SummaryWriter(str(self.folder / "tensorboard"))
        saved = evaluated = shown = time.monotonic()
        since, window, window_tokens = time.monotonic(), 0.0, 0
        while self.progress.tokens < limit and not self._stop.is_set():
            loss, tokens = self._step()
            window += loss * tokens
            window_tokens += tokens
            now = time.monotonic()
            if now - shown > 30 or self.progress.tokens >= limit:
                mean = window / window_tokens
                speed = window_tokens / (now - since)
                self._log(writer, {"loss/train": mean, "speed/tokens_per_second": speed})
                self.report(
                    f"step {self.progress.step:,}  tokens {self.progress.tokens_total:,}  "
                    f"loss {mean:.3f}  {speed:,.0f} tokens/s"
                )
                since, window, window_tokens, shown = now, 0.0, 0, now
            if now - evaluated > evaluate_seconds:
                self.evaluate(writer)
                evaluated = time.monotonic()
            if now - saved > save_seconds:
                self.save()
                saved = time.monotonic()
        self.save()
        if not self._stop.is_set():
            self.evaluate(writer)
            self.save()
        writer.close()
        return self.progress

    def _step(self) -> tuple[float, int]:
        set_rate(self.optimizers, rate(self.stage, self.progress.step, self.progress.tokens))
        batch = self.stream.next()
        wanted = int((batch.targets != IGNORE).sum())
        value = 0.0
        for ids, targets in self._micro_batches(batch):
            loss = self._loss(ids, targets) / wanted
            value += float(loss.detach())
            loss.backward()  # type: ignore[no-untyped-call]
        if not math.isfinite(value):
            raise DivergedError(f"the loss is {value} at step {self.progress.step}")
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.average.update(self.model)
        self.progress.step += 1
        self.progress.tokens += batch.tokens
        return value, batch.tokens

    def _micro_batches(self, batch: Batch) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Cut a batch by rows: on a CPU what stays in the cache trains a quarter faster."""
        device = self.machine.device
        rows = max(1, CPU_MICRO_TOKENS // batch.ids.shape[1]) if device == "cpu" else len(batch.ids)
        for start in range(0, len(batch.ids), rows):
            yield batch.ids[start : start + rows].to(device), batch.targets[start : start + rows].to(device)

    def _loss(self, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the summed loss; logits are made only where a loss is taken."""
        taken = targets.flatten() != IGNORE
        with torch.autocast(self.machine.device, dtype=torch.bfloat16, enabled=self.machine.bf16):
            hidden = self._network(input_ids=ids, use_cache=False).last_hidden_state
            logits = self.model.lm_head(hidden.flatten(0, 1)[taken])
        return functional.cross_entropy(logits.float(), targets.flatten()[taken], reduction="sum")

    def evaluate(self, writer: SummaryWriter | None = None) -> dict[str, float]:
        """Measure the averaged weights on held-out texts and report samples; returns bits per byte."""
        self.average.swap(self.model)
        for source in HELD_OUT_SOURCES:
            documents = held_out(self.data, source, 150)
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
        if writer is not None:
            self._log(writer, {f"bits_per_byte/{k}": v for k, v in self.progress.held_out.items()})
            for number, text in enumerate(texts):
                writer.add_text(f"sample/{number}", text, self.progress.tokens_total)
        figures = "  ".join(f"{name} {value:.4f}" for name, value in self.progress.held_out.items())
        self.report(f"held-out bits per byte at {self.progress.tokens_total:,} tokens: {figures}")
        for text in texts:
            self.report("  " + text)
        return self.progress.held_out

    def _log(self, writer: SummaryWriter, figures: dict[str, float]) -> None:
        for name, value in figures.items():
            writer.add_scalar(name, value, self.progress.tokens_total)
        writer.flush()
