"""The lane of texts written elsewhere: many jobs at a time, as waiting for a server costs nothing.

A thread that admits, cancels and collects; the calls run in the backend's own loop. Knows no servers.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Protocol, cast

from engine.backends.base import TellingGuide, WholeJob
from engine.batch import Work
from engine.errors import EngineError, InternalError
from engine.jobs import Job, RowResult, Started
from engine.lane import LOG, Lane

# Longest time without a look at deadlines.
WAIT_SECONDS = 0.2


class RemoteBackend(Protocol):
    """A `WholeBackend` that needn't be waited for."""

    def begin(self, job: WholeJob) -> Future[list[RowResult]]:
        """Start writing; cancelling the future ends the work. Its exceptions are EngineErrors."""
        ...


class RemoteLane(Lane):
    """The thread of all remote backends: up to `max_jobs()` jobs of up to `max_drafts` drafts each."""

    def __init__(
        self, *, max_jobs: Callable[[], int], max_drafts: int, max_waiting: int, name: str = "remote texts"
    ) -> None:
        super().__init__(max_waiting=max_waiting, name=name)
        self._max_jobs, self._max_drafts = max_jobs, max_drafts
        self._running: dict[Work, Future[list[RowResult]]] = {}
        self._finished: deque[Work] = deque()

    @property
    def running_rows(self) -> int:
        """Number of drafts being written."""
        return sum(work.rows or 0 for work in list(self._running))

    def drain(self, seconds: float) -> None:
        """Refuse new jobs, let accepted ones end for so long, then end the rest and the thread (blocking)."""
        super().drain(seconds)
        for future in list(self._running.values()):
            future.cancel()

    def _release(self) -> None:
        """Close the calls of jobs that are over."""
        for work, future in list(self._running.items()):
            if work.over:
                future.cancel()
                del self._running[work]

    def _turn(self) -> bool:
        while self._finished:
            work = self._finished.popleft()
            if work in self._running:
                self._collect(work, self._running.pop(work))
        while self._has_room():
            with self._changed:
                work = self._waiting.pop()
            if not work.over:
                self._begin(work)
        self._tell_positions()
        if not self._running:
            return False
        with self._changed:
            # Under the lock, so that no news is missed between looking and waiting.
            self._changed.wait_for(self._has_news, timeout=WAIT_SECONDS)
        return True

    def _has_room(self) -> bool:
        return bool(self._waiting) and len(self._running) < self._max_jobs()

    def _has_news(self) -> bool:
        return bool(self._finished or self._over or self._stopped or self._paused or self._has_room())

    def _begin(self, work: Work) -> None:
        job = work.job
        work.began = time.monotonic()
        try:
            work.rows = self._rows_of(job)
            work.emit(Started(work.rows))
            whole = WholeJob(
                prompt=job.prompt,
                plans=[job.plan(index) for index in range(work.rows)],
                max_new_tokens=job.max_new_tokens,
                end_ids=job.end_ids,
                num_beams=job.num_beams,
                stop=lambda: work.over,
            )
            future = cast(RemoteBackend, job.backend).begin(whole)
        except Exception:
            LOG.exception("planning a text failed")
            work.fail(InternalError("The storyteller stumbled over this request."))
            return
        self._running[work] = future
        future.add_done_callback(lambda _: self._note(work))

    def _rows_of(self, job: Job) -> int:
        """Return how many texts a job gets: drafts to choose among may be fewer than asked for."""
        if job.rows is not None and not isinstance(job.plan(0).guide, TellingGuide):
            return job.rows
        busy = len(self._running) * 2 >= self._max_jobs()
        # A seed fixes the number; else those who write leave less for each other.
        most = max(1, self._max_drafts // 2) if busy and job.rows is None else self._max_drafts
        return min(job.rows or most, most)

    def _note(self, work: Work) -> None:
        with self._changed:
            self._finished.append(work)
            self._changed.notify_all()

    def _collect(self, work: Work, future: Future[list[RowResult]]) -> None:
        try:
            results = future.result()
        except EngineError as error:
            work.fail(error)
        except CancelledError:
            work.fail(InternalError("The story was broken off."))
        except Exception:
            LOG.exception("writing a text failed")
            work.fail(InternalError("The storyteller stumbled over this request."))
        else:
            work.started, work.results = work.rows or 0, results
            work.finish_if_done()
