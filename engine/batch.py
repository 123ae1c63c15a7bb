"""The rows being decoded together on one backend: they join, take steps and leave.

Knows slots and samples; knows nothing of waiting lines, threads, prompts or words.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np
import structlog

from engine.backends.base import Ints, Logits, StepBackend
from engine.decoding import RowMemory, sample
from engine.errors import EngineError, InternalError, InvalidRequest
from engine.jobs import Bias, Drawn, End, Failed, Finished, Job, JobEvent, Narrowed, RowPlan, RowResult

NOTHING: Logits = np.empty((0, 0), dtype=np.float32)

_Outcome = Logits | Exception

if TYPE_CHECKING:
    from engine.backends.replicas import Replica

_log = structlog.get_logger("engine")


def stumbled(error: Exception) -> InternalError:
    """Return what to tell those whose work an unexpected exception ended."""
    # torch and ONNX Runtime raise exceptions of their own when memory runs out, and say so.
    if isinstance(error, MemoryError) or "memory" in f"{type(error).__name__} {error}".lower():
        return InternalError("There was not enough memory for this story. Please try again.")
    return InternalError("The storyteller stumbled over this request.")


@dataclass(eq=False, slots=True)
class Work:
    """A job on its way through a lane. `ended` comes with its last event; `leave` hears of its end."""

    job: Job
    leave: Callable[[Work], None]
    rows: int | None = None
    started: int = 0
    running: int = 0
    results: list[RowResult] = field(default_factory=list)
    position: int | None = None
    began: float = 0.0
    ended: bool = False

    @property
    def over(self) -> bool:
        """Whether nobody waits for more of it."""
        return self.ended or self.job.cancelled

    def emit(self, event: JobEvent) -> None:
        """Hand an event to whoever asked; one who is gone counts as cancelled."""
        try:
            self.job.sink(event)
        except RuntimeError:
            self.job.cancelled = True
            self.leave(self)

    def fail(self, error: EngineError) -> None:
        """End without a result, unless ended already."""
        self._end(Failed(error))

    def finish_if_done(self) -> None:
        """End with the rows decoded when none is left to decode."""
        if self.over or self.running or self.started < (self.rows or 0):
            return
        good = [row for row in self.results if row.end is not End.BROKEN]
        if good:
            self._end(Finished(sorted(good, key=lambda row: row.index)))
        else:
            self.fail(InternalError("The model's numbers went wrong for this request."))

    def _end(self, event: Finished | Failed) -> None:
        if not self.ended:
            self.ended = True
            self.emit(event)
            self.leave(self)


@dataclass(eq=False, slots=True)
class _Row:
    work: Work
    plan: RowPlan
    memory: RowMemory
    result: RowResult
    position: int

    @property
    def stale(self) -> bool:
        work = self.work
        return work.ended or work.job.cancelled or self.result.index >= (work.rows or 0)

    def bias(self) -> Bias | None:
        """Ask the guide; one that raises costs its job, no others."""
        try:
            return self.plan.guide.bias() if self.plan.guide else None
        except Exception as error:
            self._blame(error)
            return None

    def observe(self, token: int) -> bool:
        """Tell the guide; true ends the row."""
        try:
            return self.plan.guide is not None and self.plan.guide.observe(token)
        except Exception as error:
            self._blame(error)
            return True

    def _blame(self, error: Exception) -> None:
        _log.exception("a guide failed")
        self.work.fail(stumbled(error))


class Batch:
    """Rows in slots 0 … len-1 of one backend. All methods belong to one thread.

    A step is a `launch` and a `collect`; a backend with a thread of its own (`submit`) computes in between.
    """

    def __init__(self, backend: StepBackend) -> None:
        self.backend = backend
        self._rows: list[_Row] = []
        self._joining: list[_Row] = []
        self._fresh: list[_Row] = []
        self._flight: Callable[[], tuple[_Outcome, _Outcome]] | None = None
        self.launched = 0.0
        """When the step under way began."""
        self.beside = False
        """Whether the step under way computes on a thread of its own."""

    def __len__(self) -> int:
        return len(self._rows) + len(self._joining) + len(self._fresh)

    @property
    def under_way(self) -> bool:
        """Whether a step was launched and not yet collected."""
        return self._flight is not None

    @property
    def joining(self) -> int:
        """Number of rows whose prompt is computed in the step under way."""
        return len(self._joining)

    def add(self, work: Work, count: int) -> None:
        """Let the next `count` rows of a job join at the next launch."""
        job = work.job
        if not 0 < len(job.prompt) < self.backend.context:
            work.fail(InvalidRequest("That is too much text for this model."))
            return
        for index in range(work.started, work.started + count):
            plan = job.plan(index)
            memory = RowMemory(plan, job.max_new_tokens)
            self._fresh.append(_Row(work, plan, memory, RowResult(index), len(job.prompt)))
            work.started += 1
            work.running += 1

    def held(self, work: Work) -> list[RowResult]:
        """Return what the rows of a job have written so far."""
        return [row.result for row in (*self._rows, *self._joining, *self._fresh) if row.work is work]

    def reap(self) -> None:
        """Free the slots of rows whose job is over or was narrowed; a step under way has to end first."""
        stale = [row for row in self._fresh if row.stale]
        if stale:
            self._fresh = [row for row in self._fresh if not row.stale]
            self._part(stale)
        if not self.under_way:
            self._leave([slot for slot, row in enumerate(self._rows) if row.stale])

    def launch(self, *, alone: bool = True) -> None:
        """Begin a step: a token for every running row and the prompts of those that join.

        Handing it to another thread takes longer than it helps when this batch is `alone`.
        """
        self._joining, self._fresh = self._fresh, []
        self.launched = time.monotonic()
        self._flight = partial(self._compute, self._rows, self._joining)
        self.beside = not alone and hasattr(self.backend, "submit")
        if self.beside:
            self._flight = cast("Replica", self.backend).submit(self._flight).result

    def collect(self) -> None:
        """Wait for the step under way and draw a token for every row."""
        assert self._flight is not None
        flight, self._flight = self._flight, None
        running, joining = flight()
        self._rows = self._sound(self._rows, running)
        self._rows += self._sound(self._joining, joining)
        self._joining = []
        parts = [part for part in (running, joining) if isinstance(part, np.ndarray) and len(part)]
        if parts:
            self._draw(parts[0] if len(parts) == 1 else np.concatenate(parts))

    def fail_all(self, error: Exception) -> None:
        """End every job that has a row here."""
        for row in (*self._rows, *self._joining, *self._fresh):
            row.work.fail(stumbled(error))
        self._rows, self._joining, self._fresh = [], [], []

    def _sound(self, rows: list[_Row], outcome: _Outcome) -> list[_Row]:
        """Return the rows that got logits; a backend that raised costs these rows their jobs, no others."""
        if not isinstance(outcome, Exception):
            return rows
        _log.error("a decoding step failed", rows=len(rows), exc_info=outcome)
        for row in rows:
            row.work.fail(stumbled(outcome))
        return []

    def _compute(self, running: Sequence[_Row], joining: Sequence[_Row]) -> tuple[_Outcome, _Outcome]:
        """Return the logits of both, or what was raised; touches no job, as it may be on another thread."""
        decoded = self._attempt(partial(self._decode, running)) if running else NOTHING
        first = 0 if isinstance(decoded, Exception) else len(running)
        joined = self._attempt(partial(self._join, joining, first)) if joining else NOTHING
        return decoded, joined

    def _attempt(self, compute: Callable[[], Logits]) -> _Outcome:
        try:
            return compute()
        except Exception as error:
            return error

    def _decode(self, rows: Sequence[_Row]) -> Logits:
        tokens = np.array([row.result.tokens[-1] for row in rows], dtype=np.int64)
        positions = np.array([row.position for row in rows], dtype=np.int64)
        slots = np.arange(len(rows))
        logits = self.backend.step(tokens, slots, positions, slots)
        for row in rows:
            row.position += 1
        return logits

    def _join(self, rows: Sequence[_Row], first: int) -> Logits:
        """Compute each job's prompt once, in slots from `first` on, and copy it for the job's other rows."""
        slots: dict[Work, list[int]] = {}
        for slot, row in enumerate(rows, start=first):
            slots.setdefault(row.work, []).append(slot)
        prompts = [np.asarray(work.job.prompt, dtype=np.int64) for work in slots]
        lengths = [len(prompt) for prompt in prompts]
        firsts: Ints = np.repeat([of[0] for of in slots.values()], lengths)
        positions = np.concatenate([np.arange(length) for length in lengths])
        logits = self.backend.step(np.concatenate(prompts), firsts, positions, np.cumsum(lengths) - 1)
        for of, length in zip(slots.values(), lengths, strict=True):
            self.backend.copy(of[0], of[1:], length)
        if len(slots) == len(rows):
            return logits
        place = {work: place for place, work in enumerate(slots)}
        return logits[[place[row.work] for row in rows]]

    def _draw(self, logits: Logits) -> None:
        rows = self._rows
        biases = [None if row.stale else row.bias() for row in rows]
        drawn = sample(logits, [row.memory for row in rows], biases)
        values = zip(rows, drawn.tokens.tolist(), drawn.logprobs.tolist(), drawn.ok.tolist(), strict=True)
        now = time.monotonic()
        ended = []
        for slot, (row, token, logprob, ok) in enumerate(values):
            if row.stale:
                ended.append(slot)
                continue
            end = self._advance(row, token, logprob, now) if ok else End.BROKEN
            if end is not None:
                row.result.end = end
                ended.append(slot)
        self._leave(ended)

    def _advance(self, row: _Row, token: int, logprob: float, now: float) -> End | None:
        work, result = row.work, row.result
        if not result.tokens:
            result.first_token_at = now
        result.tokens.append(token)
        result.logprob += logprob
        row.memory.push(token)
        if work.rows == 1:
            work.emit(Drawn(token))
        if token in work.job.end_ids:
            return End.TOKEN
        if row.observe(token):
            return End.GUIDE
        full = len(result.tokens) >= work.job.max_new_tokens or row.position >= self.backend.context
        return End.LENGTH if full else None

    def _leave(self, slots: Sequence[int]) -> None:
        """Free slots, then move the last rows into the holes so that slots stay dense."""
        if not slots:
            return
        gone = [self._rows[slot] for slot in slots]
        keep = len(self._rows) - len(slots)
        holes = [slot for slot in slots if slot < keep]
        leaving = set(slots)
        movers = [slot for slot in range(keep, len(self._rows)) if slot not in leaving]
        for hole, mover in zip(holes, movers, strict=True):
            self.backend.copy(mover, [hole], self._rows[mover].position)
            self._rows[hole] = self._rows[mover]
        del self._rows[keep:]
        self._part(gone)

    def _part(self, rows: Sequence[_Row]) -> None:
        for row in rows:
            row.work.running -= 1
            if row.result.index < (row.work.rows or 0):
                row.work.results.append(row.result)
            row.work.finish_if_done()


def narrow(work: Work, rows: int, batches: Sequence[Batch]) -> None:
    """Let only the first `rows` rows of a job go on, as if no more had been asked for."""
    work.rows = work.started = rows
    work.results = [result for result in work.results if result.index < rows]
    work.emit(Narrowed(rows))
    if rows == 1:
        held = (result for batch in batches for result in batch.held(work))
        for token in next(r.tokens for r in (*work.results, *held) if r.index == 0):
            work.emit(Drawn(token))
    for batch in batches:
        batch.reap()
