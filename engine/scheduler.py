"""Continuous batching: rows of any jobs decode together, joining and leaving between steps.

Sees `step(tokens, slots, positions, rows) -> logits`; knows nothing of models, words or HTTP.
"""

from __future__ import annotations

import time
from typing import cast

import structlog

from engine.backends.base import StepBackend
from engine.batch import Batch
from engine.errors import InternalError
from engine.jobs import IDLE_ROWS, Started
from engine.lane import Lane

# Prompt tokens that may join at one step: more would hold up the running rows, and the heartbeat.
PROMPT_TOKENS_PER_STEP = 256

_log = structlog.get_logger("engine")


def rows_by_load(free: int, limit: int, waiting: int) -> int:
    """Return how many rows a job gets when it asks for none in particular: 1, 2, 4 … up to IDLE_ROWS.

    Idle gives all; each quarter of the rows in use halves it; what is free is shared with those who wait.
    """
    used = (limit - free) / limit
    by_use = IDLE_ROWS >> int(used * 4 + 0.75)
    rows = max(1, min(by_use, free // (waiting + 1)))
    return 1 << (rows.bit_length() - 1)


class Scheduler(Lane):
    """The decoding thread of all step backends."""

    def __init__(self, *, max_rows: int, max_waiting: int, name: str = "decoding") -> None:
        super().__init__(max_waiting=max_waiting, name=name)
        self._max_rows = max_rows
        self._batches: dict[int, Batch] = {}

    @property
    def running_rows(self) -> int:
        """Number of rows being decoded."""
        return sum(map(len, list(self._batches.values())))

    def _turn(self) -> bool:
        for batch in self._batches.values():
            batch.reap()
        self._admit()
        self._tell_positions()
        busy = [batch for batch in self._batches.values() if len(batch)]
        for batch in busy:
            try:
                batch.step()
            except Exception:
                _log.exception("drawing tokens failed", rows=len(batch))
                batch.fail_all(InternalError("The storyteller stumbled over this request."))
        self._batches = {key: batch for key, batch in self._batches.items() if len(batch)}
        return bool(busy)

    def _admit(self) -> None:
        """Give free rows to those in line; a job larger than what is free begins with a part of its rows."""
        free = self._max_rows - self.running_rows
        room = PROMPT_TOKENS_PER_STEP
        while room > 0 and free > 0:
            with self._changed:
                work = self._waiting.peek()
                if work is None:
                    return
                if work.rows is None:
                    work.rows = rows_by_load(free, self._max_rows, len(self._waiting) - 1)
                count = min(free, work.rows - work.started)
                if work.started + count == work.rows:
                    self._waiting.pop()
            room -= max(1, len(work.job.prompt))
            if work.job.cancelled or work.ended:
                continue
            if not work.started:
                work.began = time.monotonic()
                work.emit(Started(work.rows))
            backend = cast(StepBackend, work.job.backend)
            batch = self._batches.setdefault(id(backend), Batch(backend))
            try:
                batch.add(work, count)
            except Exception:
                _log.exception("planning rows failed", rows=count)
                work.fail(InternalError("The storyteller stumbled over this request."))
            free -= count
