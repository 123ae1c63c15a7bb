"""Beams for a model that another backend steps: torch is loaded when the first are asked for, not before."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from engine.backends.base import WholeBackend, WholeJob
from engine.jobs import RowResult

if TYPE_CHECKING:
    from engine.registry import ModelCard


class LaterWhole:
    """Writes whole texts; see `WholeBackend`. The first one waits for the model (seconds)."""

    def __init__(self, card: ModelCard, vocab_size: int, context: int) -> None:
        self.vocab_size = vocab_size
        self.context = context
        self._card = card
        self._loaded: WholeBackend | None = None
        self._lock = threading.Lock()

    def generate(self, job: WholeJob) -> list[RowResult]:
        with self._lock:
            if self._loaded is None:
                quiet_threads()
                from engine.backends.torch_loading import load_whole

                self._loaded = load_whole(self._card, self.context)
        return self._loaded.generate(job)


def quiet_threads() -> None:
    """Have OpenMP's threads sleep while they wait; only before torch is imported does this help."""
    # Spinning ones made a step 50 times slower whenever another program was busy.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
