"""A thread with a waiting line: admission, fairness, cancelling, deadlines, pausing, draining, a heartbeat.

What the thread does with a job is a subclass's. Knows nothing of models, asyncio or HTTP.
"""

from __future__ import annotations

import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import deque

import structlog

from engine.batch import Work
from engine.errors import DeadlineExceeded, EngineError, InternalError, Overloaded, ShuttingDown
from engine.fairqueue import FairQueue
from engine.jobs import Job, Queued

IDLE_SECONDS = 0.5
HEARTBEAT_SECONDS = 3.0
MAX_RETRY_AFTER = 60.0
# Shares of the waiting room that one person, and one group, may fill.
OF_ONE_PERSON = 1 / 2
OF_ONE_GROUP = 3 / 4
# Longer lines are told their places this many seconds apart at least: each place taken moves everybody.
LONG_LINE = 32
TELL_SECONDS = 0.25
# So long a Python thread runs before another gets its turn. The decoding thread comes back from every step
# while others read texts: Python's own five milliseconds would be half a step.
SWITCH_SECONDS = 0.0005

LOG = structlog.get_logger("engine")


class Lane(ABC):
    """A bounded fair line in front of one worker thread. Public methods may be called from any thread."""

    def __init__(self, *, max_waiting: int, name: str) -> None:
        self._max_waiting = max_waiting
        self._changed = threading.Condition()
        self._waiting: FairQueue[Work] = FairQueue()
        self._works: dict[Job, Work] = {}
        self._over: deque[Work] = deque()
        self._left = False
        self._closing = self._stopped = self._paused = False
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._beat = time.monotonic()
        self._job_seconds = 1.0
        self._soonest = float("inf")
        self._told_at, self._told = 0.0, 0

    def start(self) -> None:
        """Start the thread; Python's threads take shorter turns from then on."""
        sys.setswitchinterval(min(SWITCH_SECONDS, sys.getswitchinterval()))
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

        Raises Overloaded when the line is full, for all or for this person or group, and ShuttingDown after
        `drain`.
        """
        with self._changed:
            if self._stopped or (self._closing and not follow_up):
                raise ShuttingDown("The storyteller is about to stop.", retry_after=5.0)
            if not follow_up:
                self.check_room(job.person, job.group)
            work = Work(job, self._over.append, rows=job.rows)
            self._works[job] = work
            self._waiting.push(job.person, work, job.group)
            self._soonest = min(self._soonest, job.deadline)
            self._changed.notify_all()

    def check_room(self, person: str | None, group: str | None = None) -> None:
        """Raise Overloaded when the line is full, for all or for this person or group."""
        with self._changed:
            most, line = self._max_waiting, self._waiting
            full = len(line) >= most
            full |= person is not None and line.of(person) >= max(1, int(most * OF_ONE_PERSON))
            full |= group is not None and line.of_group(group) >= max(1, int(most * OF_ONE_GROUP))
            if full:
                raise Overloaded("Too many stories are waiting already.", retry_after=self._retry_after())

    def cancel(self, job: Job) -> None:
        """Forget a job: its rows are free before the next step, and nothing more is heard of it."""
        with self._changed:
            job.cancelled = True
            if job in self._works:
                self._over.append(self._works[job])
            self._changed.notify_all()

    def pause(self) -> None:
        """Begin no job and take no step until `resume`; a step under way still ends. Returns at once.

        Jobs may still be submitted and cancelled, deadlines pass, and the lane stays healthy.
        """
        with self._changed:
            self._paused = True

    def resume(self) -> None:
        """Go on after `pause`."""
        with self._changed:
            self._paused = False
            self._changed.notify_all()

    def drain(self, seconds: float) -> None:
        """Refuse new jobs, let accepted ones end for so long, fail the rest and end the thread (blocking).

        A paused lane goes on, as its jobs could not end otherwise.
        """
        until = time.monotonic() + seconds
        with self._changed:
            self._closing, self._paused = True, False
            self._changed.notify_all()
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
        worked = False
        try:
            self._sweep()
            if self._left:
                self._left = False
                self._release()
            if self._paused:
                self._tell_positions()
            else:
                worked = self._turn()
        except Exception:
            LOG.exception("a turn of the decoding thread failed", lane=self._thread.name)
            self._fail_everything(InternalError("The storyteller stumbled."))
        self._forget_ended()
        return worked

    def _loop(self) -> None:
        while not self._stopped:
            worked = self.run_once()
            with self._changed:
                idle = self._paused or not self._waiting
                if not worked and idle and not self._over and not self._stopped:
                    self._changed.wait(timeout=IDLE_SECONDS)

    @abstractmethod
    def _turn(self) -> bool:
        """Do a bit of work in the thread; false when there was none."""

    def _release(self) -> None:  # noqa: B027 - a lane may hold nothing
        """Free what jobs that are over still hold; runs while paused too."""

    def _sweep(self) -> None:
        """End what is past its deadline and take what is over out of the line."""
        now = time.monotonic()
        if now > self._soonest:
            with self._changed:
                late = [work for work in self._works.values() if now > work.job.deadline]
                alive = (work.job.deadline for work in self._works.values() if now <= work.job.deadline)
                self._soonest = min(alive, default=float("inf"))
            for work in late:
                if not work.over:
                    work.fail(DeadlineExceeded("The story took too long."))
        self._forget_ended()

    def _forget_ended(self) -> None:
        with self._changed:
            while self._over:
                work = self._over.popleft()
                if self._works.pop(work.job, None) is None:
                    continue
                self._left = True
                self._waiting.remove(work)
                if work.began and work.ended:
                    self._job_seconds += 0.1 * (time.monotonic() - work.began - self._job_seconds)
                self._changed.notify_all()

    def _tell_positions(self) -> None:
        """Tell those in line where they stand, when that has changed."""
        with self._changed:
            line, now = self._waiting, time.monotonic()
            soon = len(line) > LONG_LINE and now - self._told_at < TELL_SECONDS
            if self._told == line.changes or soon:
                return
            self._told_at, self._told = now, line.changes
            moved = [
                (place, work)
                for place, work in enumerate(line)
                if work.position != place and not work.started and not work.over
            ]
        for place, work in moved:
            work.position = place
            work.emit(Queued(place))

    def _fail_everything(self, error: EngineError) -> None:
        with self._changed:
            works = list(self._works.values())
        for work in works:
            if not work.over:
                work.fail(error)
        self._forget_ended()

    def _retry_after(self) -> float:
        """Seconds until a place in line is likely to be free."""
        ahead = len(self._waiting) / max(1, len(self._works) - len(self._waiting))
        return float(round(min(MAX_RETRY_AFTER, max(1.0, ahead * self._job_seconds))))
