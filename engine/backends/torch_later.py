"""Whether torch is there, and beams for a model that another backend steps. Imports torch late or never."""

from __future__ import annotations

import os
import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING

from engine.backends.base import WholeBackend, WholeJob
from engine.jobs import RowResult

if TYPE_CHECKING:
    from engine.registry import ModelCard


INSTALL = "pip install 'wordtale[gpu]'"


def has_torch() -> bool:
    """Whether torch and transformers are installed; imports neither."""
    return find_spec("torch") is not None and find_spec("transformers") is not None


def quiet_threads() -> None:
    """Have OpenMP keep to one thread that sleeps while it waits; call it before torch is first imported.

    Spinning threads made a step 50 times slower whenever another program was busy, and a second pool of
    threads beside ONNX Runtime's four times. Who decodes with torch sets its threads anew.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("OMP_NUM_THREADS", "1")


class LaterWhole:
    """Writes whole texts; see `WholeBackend`. The first one waits for torch and the model (seconds)."""

    def __init__(self, card: ModelCard, vocab_size: int, context: int) -> None:
        self.vocab_size = vocab_size
        self.context = context
        self._card = card
        self._loaded: WholeBackend | None = None
        self._lock = threading.Lock()

    def generate(self, job: WholeJob) -> list[RowResult]:
        with self._lock:
            if self._loaded is None:
                from engine.backends.torch_loading import load_whole

                self._loaded = load_whole(self._card, self.context)
        return self._loaded.generate(job)
