"""The rows being decoded together on one backend: they join, take steps and leave.

Knows slots and samples; knows nothing of waiting lines, threads, prompts or words.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import structlog

from engine.backends.base import Ints, Logits, StepBackend
from engine.decoding import RowMemory, sample
from engine.errors import EngineError, InternalError
from engine.jobs import Bias, Drawn, End, Failed, Finished, Job, JobEvent, RowPlan, RowResult

_log = structlog.get_logger("engine")


@dataclass(eq=False)
class Work:
    """A job on its way through the scheduler. `ended` is set once, with its last event."""

    job: Job
    rows: int | None = None
    started: int = 0
    running: int = 0
    results: list[RowResult] = field(default_factory=list)
    position: int | None = None
    began: float = 0.0
    ended: bool = False

    def emit(self, event: JobEvent) -> None:
        """Hand an event to whoever asked; one who is gone counts as cancelled."""
        try:
            self.job.sink(event)
        except RuntimeError:
            self.job.cancelled = True

    def fail(self, error: EngineError) -> None:
        """End without a result, unless ended already."""
        if not self.ended:
            self.ended = True
            self.emit(Failed(error))

    def finish_if_done(self) -> None:
        """End with the rows decoded when none is left to decode."""
        if self.ended or self.running or self.started < (self.rows or 0):
            return
        good = sorted((row for row in self.results if row.end is not End.BROKEN), key=lambda row: row.index)
        if not good:
            self.fail(InternalError("The model's numbers went wrong for this request."))
            return
        self.ended = True
        self.emit(Finished(good))


@dataclass(eq=False)
class _Row:
    work: Work
    plan: RowPlan
    memory: RowMemory
    result: RowResult
    position: int

    @property
    def stale(self) -> bool:
        return self.work.ended or self.work.job.cancelled

    def bias(self) -> Bias | None:
        """Ask the guide; one that raises costs its job, no others."""
        try:
            return self.plan.guide.bias() if self.plan.guide else None
        except Exception:
            self._blame()
            return None

    def observe(self, token: int) -> bool:
        """Tell the guide; true ends the row."""
        try:
            return self.plan.guide is not None and self.plan.guide.observe(token)
        except Exception:
            self._blame()
            return True

    def _blame(self) -> None:
        _log.exception("a guide failed")
        self.work.fail(InternalError("The storyteller stumbled over this request."))


class Batch:
    """Rows in slots 0 … len-1 of one backend. All methods belong to one thread."""

    def __init__(self, backend: StepBackend) -> None:
        self._backend = backend
        self._rows: list[_Row] = []
        self._fresh: list[_Row] = []

    def __len__(self) -> int:
        return len(self._rows) + len(self._fresh)

    def add(self, work: Work, count: int) -> None:
        """Let the next `count` rows of a job join at the coming step."""
        job = work.job
        for index in range(work.started, work.started + count):
            plan = job.plan(index)
            memory = RowMemory(plan, job.max_new_tokens)
            self._fresh.append(_Row(work, plan, memory, RowResult(index), len(job.prompt)))
        work.started += count
        work.running += count

    def reap(self) -> None:
        """Free the slots of rows whose job has ended or was cancelled."""
        self._fresh = [row for row in self._fresh if not row.stale]
        self._leave([slot for slot, row in enumerate(self._rows) if row.stale])

    def step(self) -> None:
        """Draw one token for every row: running ones and those that join now."""
        running = self._guarded(self._rows, self._decode)
        if running is None:
            self._rows = []
        joining = self._guarded(self._fresh, self._join)
        if joining is not None:
            self._rows += self._fresh
        self._fresh = []
        parts = [part for part in (running, joining) if part is not None and len(part)]
        if parts:
            self._draw(parts[0] if len(parts) == 1 else np.concatenate(parts))

    def fail_all(self, error: EngineError) -> None:
        """End every job that has a row here."""
        for row in (*self._rows, *self._fresh):
            row.work.fail(error)
        self._rows, self._fresh = [], []

    def _guarded(self, rows: Sequence[_Row], compute: Callable[[], Logits]) -> Logits | None:
        """Return the logits of some rows; a backend that raises costs these rows their jobs, no others."""
        if not rows:
            return np.empty((0, self._backend.vocab_size), dtype=np.float32)
        try:
            return compute()
        except Exception:
            _log.exception("a decoding step failed", rows=len(rows))
            for row in rows:
                row.work.fail(InternalError("The model stumbled over this request."))
            return None

    def _decode(self) -> Logits:
        tokens = np.array([row.result.tokens[-1] for row in self._rows], dtype=np.int64)
        positions = np.array([row.position for row in self._rows], dtype=np.int64)
        slots = np.arange(len(self._rows))
        logits = self._backend.step(tokens, slots, positions, slots)
        for row in self._rows:
            row.position += 1
        return logits

    def _join(self) -> Logits:
        """Compute the prompt of each job once and copy its slot for the job's other rows."""
        groups: dict[Work, list[int]] = {}
        for slot, row in enumerate(self._fresh, start=len(self._rows)):
            groups.setdefault(row.work, []).append(slot)
        prompts = [np.asarray(work.job.prompt, dtype=np.int64) for work in groups]
        lengths = [len(prompt) for prompt in prompts]
        slots: Ints = np.repeat([of[0] for of in groups.values()], lengths)
        positions = np.concatenate([np.arange(length) for length in lengths])
        logits = self._backend.step(np.concatenate(prompts), slots, positions, np.cumsum(lengths) - 1)
        for of, length in zip(groups.values(), lengths, strict=True):
            self._backend.copy(of[0], of[1:], length)
        return np.repeat(logits, [len(of) for of in groups.values()], axis=0)

    def _draw(self, logits: Logits) -> None:
        rows = self._rows
        biases = [row.bias() for row in rows]
        drawn = sample(logits, [row.memory for row in rows], biases)
        now = time.monotonic()
        ended = []
        for slot, row in enumerate(rows):
            row.result.first_token_at = row.result.first_token_at or now
            end: End | None = End.BROKEN
            if drawn.ok[slot]:
                end = self._advance(row, int(drawn.tokens[slot]), float(drawn.logprobs[slot]))
            if end is not None:
                row.result.end = end
                ended.append(slot)
        self._leave(ended)

    def _advance(self, row: _Row, token: int, logprob: float) -> End | None:
        job, result = row.work.job, row.result
        result.tokens.append(token)
        result.logprob += logprob
        row.memory.push(token)
        if row.work.rows == 1:
            row.work.emit(Drawn(token))
        if token in job.end_ids:
            return End.TOKEN
        if row.observe(token):
            return End.GUIDE
        full = len(result.tokens) >= job.max_new_tokens or row.position >= self._backend.context
        return End.LENGTH if full else None

    def _leave(self, slots: Sequence[int]) -> None:
        """Free slots, then move the last rows into the holes so that slots stay dense."""
        gone = [self._rows[slot] for slot in slots]
        keep = len(self._rows) - len(slots)
        holes = [slot for slot in slots if slot < keep]
        movers = [slot for slot in range(keep, len(self._rows)) if slot not in set(slots)]
        for hole, mover in zip(holes, movers, strict=True):
            self._backend.copy(mover, [hole], self._rows[mover].position)
            self._rows[hole] = self._rows[mover]
        del self._rows[keep:]
        for row in gone:
            row.work.running -= 1
            row.work.results.append(row.result)
            if not row.work.job.cancelled:
                row.work.finish_if_done()
