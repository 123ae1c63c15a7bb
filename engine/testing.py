"""A backend without weights that follows a script, and a store of what a job's events were.

Part of the package so that other projects' tests can use it too. Knows nothing of real models.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from engine.backends.base import Ints, Logits
from engine.jobs import Drawn, Failed, Finished, JobEvent, Narrowed, Queued, RowResult, Started

SURE = 40.0
HOLD_SECONDS = 5.0

Script = Callable[[Sequence[int], Sequence[int]], int | None]
"""From a prompt and what was written after it to the next token; None gives logits that are no numbers."""


class ScriptedBackend:
    """A `StepBackend` that is sure of the script's token and checks how it is used.

    Misuse (a gap in positions, a slot of nobody) raises AssertionError. `hold` lets steps wait until it is
    set; `steps` counts them, `most_rows` the rows of the largest one.
    """

    def __init__(self, script: Script, *, vocab_size: int = 100, context: int = 512) -> None:
        self.vocab_size, self.context = vocab_size, context
        self.steps = self.most_rows = 0
        self.hold = threading.Event()
        self.hold.set()
        self._script = script
        self._ids: dict[int, list[int]] = {}
        self._prompts: dict[int, int] = {}
        self._fresh = -1

    def step(self, tokens: Ints, slots: Ints, positions: Ints, rows: Ints) -> Logits:
        assert self.hold.wait(HOLD_SECONDS), "held for too long"
        self.steps += 1
        self.most_rows = max(self.most_rows, len(rows))
        wanted = {int(row) for row in rows}
        out = np.zeros((len(rows), self.vocab_size), dtype=np.float32)
        for place, (token, slot, position) in enumerate(zip(tokens, slots, positions, strict=True)):
            self._take(int(token), int(slot), int(position))
            if place in wanted:
                self._favour(out[sorted(wanted).index(place)], int(slot))
        return out

    def copy(self, source: int, targets: Sequence[int], length: int) -> None:
        assert length == len(self._ids[source]), "a slot copied in part"
        for target in targets:
            assert target != source
            self._ids[target], self._prompts[target] = list(self._ids[source]), self._prompts[source]

    def _take(self, token: int, slot: int, position: int) -> None:
        if position == 0:
            self._ids[slot], self._prompts[slot] = [], 0
            self._fresh = slot
        ids = self._ids[slot]
        assert position == len(ids) < self.context, f"slot {slot}: position {position} after {len(ids)}"
        ids.append(token)
        if self._fresh == slot:
            self._prompts[slot] = len(ids)

    def _favour(self, logits: Logits, slot: int) -> None:
        self._fresh = -1
        ids, prompt = self._ids[slot], self._prompts[slot]
        token = self._script(ids[:prompt], ids[prompt:])
        if token is None:
            logits[:] = np.nan
        else:
            logits[token] = SURE


@dataclass
class EventLog:
    """A sink that keeps a job's events and can be waited for."""

    events: list[JobEvent] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def __call__(self, event: JobEvent) -> None:
        self.events.append(event)
        if isinstance(event, Finished | Failed):
            self.ended.set()

    def wait(self, seconds: float = 5.0) -> JobEvent:
        """Return the last event once the job has ended. Raises TimeoutError."""
        if not self.ended.wait(seconds):
            raise TimeoutError(f"no end within {seconds} s: {self.events}")
        return self.events[-1]

    @property
    def results(self) -> list[RowResult]:
        """Rows of the finished job."""
        return [row for event in self.events if isinstance(event, Finished) for row in event.rows]

    @property
    def failure(self) -> Failed | None:
        """How the job failed, if it did."""
        return next((event for event in self.events if isinstance(event, Failed)), None)

    @property
    def drawn(self) -> list[int]:
        """Tokens streamed."""
        return [event.token for event in self.events if isinstance(event, Drawn)]

    @property
    def started(self) -> int | None:
        """Rows the job has, None before it began."""
        told = [event.rows for event in self.events if isinstance(event, Started | Narrowed)]
        return told[-1] if told else None

    @property
    def positions(self) -> list[int]:
        """Places in line it was told."""
        return [event.position for event in self.events if isinstance(event, Queued)]


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for something that another thread brings about. Raises TimeoutError."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError("it did not happen")
        time.sleep(0.002)
