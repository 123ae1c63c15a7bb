"""Jobs for a scheduler over a scripted backend: how long they write, what, and what goes wrong."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from engine.jobs import Job, RowPlan, RowSettings
from engine.testing import EventLog, ScriptedBackend

END, NAN, CRASH = 1, 2, 3
GREEDY = RowSettings(temperature=0.0)


def script(prompt: Sequence[int], written: Sequence[int]) -> int | None:
    """Prompt [length, tag, fault]: write the tag `length` times, then end; a fault shows after one token."""
    length, tag, fault = prompt
    if fault == NAN and written:
        return None
    if fault == CRASH and written:
        raise MemoryError("scripted")
    return tag if len(written) < length else END


def make_job(
    backend: ScriptedBackend, length: int = 3, tag: int = 50, fault: int = 0, **given: Any
) -> tuple[Job, EventLog]:
    """Return a job that writes `length` tokens and then ends, and the log of its events."""
    log = EventLog()
    options: dict[str, Any] = {
        "plan": lambda index: RowPlan(GREEDY, 0, index),
        "end_ids": frozenset({END}),
        "max_new_tokens": 40,
        "deadline": time.monotonic() + 60,
        "rows": 1,
        "sink": log,
    }
    return Job(backend=backend, prompt=[length, tag, fault], **(options | given)), log
