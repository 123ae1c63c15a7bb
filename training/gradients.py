"""Loss and gradients of a batch on the machine at hand.

Knows nothing of optimizers or of where the data came from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.nn import functional

from training.data.examples import IGNORE
from training.data.stream import Batch
from training.machine import Machine

# On a CPU what stays in the cache trains a quarter faster; on a GPU this bounds the memory of the logits.
CPU_MICRO_TOKENS = 2048
CUDA_MICRO_TOKENS = 65_536


class Gradients:
    """Computes gradients of a causal model that stands on the machine's device.

    On a CPU plain attention and, where `machine` says so, compiled layers are faster. A compiler that fails
    costs its speed alone: the network goes on uncompiled.
    """

    def __init__(self, model: Any, machine: Machine, report: Callable[[str], None]) -> None:
        self._model, self._machine, self._report = model, machine, report
        if machine.device == "cpu":
            model.set_attn_implementation("eager")
        self._network = torch.compile(model.model, dynamic=True) if machine.compiled else model.model

    def add(self, batch: Batch) -> float:
        """Add the gradients of the batch's mean loss to the parameters; return that loss (nats a token)."""
        if self._network is self._model.model:
            return self._add(batch)
        try:
            return self._add(batch)
        except _compiler_errors() as error:
            first = str(error).strip().splitlines()[0][:160]
            self._report(f"the compiler failed, training goes on uncompiled: {first}")
            self._network = self._model.model
            for parameter in self._model.parameters():
                parameter.grad = None
            return self._add(batch)

    def _add(self, batch: Batch) -> float:
        wanted = int((batch.targets != IGNORE).sum())
        value: torch.Tensor | float = 0.0
        for ids, targets in self._micro_batches(batch):
            loss = self._loss(ids, targets) / wanted
            loss.backward()  # type: ignore[no-untyped-call]
            value = value + loss.detach()
        return float(value)

    def _micro_batches(self, batch: Batch) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        size = CPU_MICRO_TOKENS if self._machine.device == "cpu" else CUDA_MICRO_TOKENS
        rows = max(1, size // batch.ids.shape[1])
        for start in range(0, len(batch.ids), rows):
            yield batch.ids[start : start + rows], batch.targets[start : start + rows]

    def _loss(self, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the summed loss; logits are made only where a loss is taken.

        Where that is gets known on the CPU, so that a GPU is never waited for.
        """
        flat = targets.flatten()
        places = (flat != IGNORE).nonzero().squeeze(1)
        wanted, places, ids = self._move(flat[places]), self._move(places), self._move(ids)
        with torch.autocast(self._machine.device, dtype=torch.bfloat16, enabled=self._machine.bf16):
            hidden = self._network(input_ids=ids, use_cache=False).last_hidden_state
            logits = self._model.lm_head(hidden.flatten(0, 1).index_select(0, places))
        return functional.cross_entropy(logits.float(), wanted, reduction="sum")

    def _move(self, values: torch.Tensor) -> torch.Tensor:
        if self._machine.device == "cpu":
            return values
        return values.pin_memory().to(self._machine.device, non_blocking=True)


def _compiler_errors() -> tuple[type[BaseException], ...]:
    """Return what torch.compile raises; imported late, for it takes seconds."""
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.exc import CppCompileError, InvalidCxxCompiler

    return (TorchDynamoException, CppCompileError, InvalidCxxCompiler)
