"""A thread with a waiting line: admission, fairness, cancelling, deadlines, draining, a heartbeat.

What the thread does with a job is a subclass's. Knows nothing of models, asyncio or HTTP.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable

import structlog

from engine.batch import Work
from engine.errors import DeadlineExceeded, EngineError, InternalError, Overloaded, ShuttingDown
from engine.fairqueue import FairQueue
from engine.jobs import Job, Queued

IDLE_SECONDS = 0.5
HEARTBEAT_SECONDS = 3.0
MAX_RETRY_AFTER = 60.0

LOG = structlog.get_logger("engine")


class Lane(ABC):
    """A bounded fair line in front of one worker thread. Public methods may be called from any thread."""

    def __init__(self, *, max_waiting: int, name: str) -> None:
        self._max_waiting = max_waiting
        self._max_waiting_of_one = max(1, max_waiting // 2)
        self._changed = threading.Condition()
        self._waiting: FairQueue[Work] = FairQueue()
        self._works: dict[Job, Work] = {}
        self._closing = self._stopped = False
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._beat = time.monotonic()
        self._job_seconds = 1.0

    def start(self) -> None:
        """Start the thread."""
        self._beat = time.monotonic()
        self._thread.start()

    @property
    def healthy(self) -> bool:
        """Whether the thread lives and gave a sign of life in the last seconds."""
        return self._thread.is_alive() and time.monotonic() - self._beat < HEARTBEAT_SECONDS

    @property
    def waiting(self) -> int:
        """Number of jobs of which no row has begun."""
        return len(self._waiting)

    @property
    def jobs(self) -> int:
        """Number of jobs waiting or running."""
        return len(self._works)

    @property
    @abstractmethod
    def running_rows(self) -> int:
        """Number of rows being decoded."""

    def submit(self, job: Job, *, follow_up: bool = False) -> None:
        """Put a job in line. A follow-up of an accepted job is never refused for lack of room.

        Raises Overloaded when the line is full, for all or for this person, and ShuttingDown after `drain`.
        """
        with self._changed:
            if self._stopped or (self._closing and not follow_up):
                raise ShuttingDown("The storyteller is about to stop.", retry_after=5.0)
            if not follow_up:
                self.check_room(job.person)
            work = Work(job, rows=job.rows)
            self._works[job] = work
            self._waiting.push(job.person, work)
            self._changed.notify_all()

    def check_room(self, person: str | None) -> None:
        """Raise Overloaded when the line is full, for all or for this person: asked before a job is made."""
        with self._changed:
            full = len(self._waiting) >= self._max_waiting
            own = person is not None and self._waiting.of(person) >= self._max_waiting_of_one
            if full or own:
                raise Overloaded("Too many stories are waiting already.", retry_after=self._retry_after())

    def cancel(self, job: Job) -> None:
        """Forget a job: its rows are free before the next step, and nothing more is heard of it."""
        with self._changed:
            job.cancelled = True
            self._changed.notify_all()

    def drain(self, seconds: float) -> None:
        """Refuse new jobs, let accepted ones end for so long, fail the rest and end the thread (blocking)."""
        until = time.monotonic() + seconds
        with self._changed:
            self._closing = True
            while self._works and time.monotonic() < until and self._thread.is_alive():
                self._changed.wait(timeout=min(0.1, max(0.0, until - time.monotonic())))
            self._stopped = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=HEARTBEAT_SECONDS)
        self._fail_everything(ShuttingDown("The storyteller stopped.", retry_after=5.0))

    def run_once(self) -> bool:
        """Do one round of the thread's work; false when there was nothing to do. For the thread and tests."""
        self._beat = time.monotonic()
        try:
            self._sweep()
            worked = self._turn()
        except Exception:
            LOG.exception("a turn of the decoding thread failed", lane=self._thread.name)
            self._fail_everything(InternalError("The storyteller stumbled."))
            worked = False
        with self._changed:
            self._forget_ended()
        return worked

    def _loop(self) -> None:
        while not self._stopped:
            worked = self.run_once()
            with self._changed:
                if not worked and not self._waiting and not self._stopped:
                    self._changed.wait(timeout=IDLE_SECONDS)

    @abstractmethod
    def _turn(self) -> bool:
        """Do a bit of work in the thread; false when there was none."""

    def _sweep(self) -> None:
        """End what is past its deadline and take what is over out of the line."""
        now = time.monotonic()
        with self._changed:
            late = [work for work in self._works.values() if now > work.job.deadline]
        for work in late:
            if not work.job.cancelled:
                work.fail(DeadlineExceeded("The story took too long."))
        with self._changed:
            self._forget_ended()

    def _forget_ended(self) -> None:
        over = [work for work in self._works.values() if work.ended or work.job.cancelled]
        for work in over:
            self._waiting.remove(work)
            del self._works[work.job]
            if work.began and not work.job.cancelled:
                self._job_seconds += 0.1 * (time.monotonic() - work.began - self._job_seconds)
        if over:
            self._changed.notify_all()

    def _tell_positions(self) -> None:
        """Tell those in line where they stand, when that has changed."""
        with self._changed:
            moved = [
                (place, work)
                for place, work in enumerate(self._waiting)
                if work.position != place and not work.started
            ]
        for place, work in moved:
            work.position = place
            work.emit(Queued(place))

    def _fail_everything(self, error: EngineError) -> None:
        with self._changed:
            works: Iterable[Work] = list(self._works.values())
        for work in works:
            if not work.job.cancelled:
                work.fail(error)
        with self._changed:
            self._forget_ended()

    def _retry_after(self) -> float:
        """Seconds until a place in line is likely to be free."""
        ahead = len(self._waiting) / max(1, len(self._works) - len(self._waiting))
        return float(round(min(MAX_RETRY_AFTER, max(1.0, ahead * self._job_seconds))))
