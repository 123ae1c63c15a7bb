"""The lane of texts written elsewhere: jobs end once, cancelled ones at most once, and never too many run."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from engine.backends.base import WholeJob
from engine.errors import InternalError, Overloaded, ShuttingDown
from engine.jobs import Failed, Finished, Job, RowPlan, RowResult, RowSettings
from engine.remote_lane import RemoteLane

JOBS_AT_ONCE = 4


class Elsewhere:
    """Writes nothing, after a while; fails, breaks or goes on for ever as the prompt says."""

    vocab_size, context = 10, 100

    def __init__(self) -> None:
        self.running = self.most = 0
        self.lock = threading.Lock()
        self.pool = ThreadPoolExecutor(16)

    def generate(self, job: WholeJob) -> list[RowResult]:
        raise AssertionError

    def begin(self, job: WholeJob) -> Future[list[RowResult]]:
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        future: Future[list[RowResult]] = Future()
        future.add_done_callback(lambda _: self.done())
        self.pool.submit(self.write, job, future)
        return future

    def done(self) -> None:
        with self.lock:
            self.running -= 1

    def write(self, job: WholeJob, future: Future[list[RowResult]]) -> None:
        what = job.prompt[0]
        until = time.monotonic() + (60 if what == 2 else random.random() / 100)
        while time.monotonic() < until and not future.cancelled():
            time.sleep(0.001)
        if not future.set_running_or_notify_cancel():
            return
        if what == 0:
            future.set_exception(InternalError("It went wrong."))
        elif what == 1:
            future.set_exception(ValueError("unexpected"))
        else:
            future.set_result([RowResult(index) for index in range(len(job.plans))])


@pytest.fixture
def lane() -> Any:
    made = RemoteLane(max_jobs=lambda: JOBS_AT_ONCE, max_drafts=3, max_waiting=100)
    made.start()
    yield made
    made.drain(0)


def job(backend: Elsewhere, what: int, sink: Any, deadline: float = 30.0) -> Job:
    plan = RowPlan(RowSettings(), 1, 0)
    until = time.monotonic() + deadline
    return Job(backend, [what], lambda _: plan, sink, frozenset(), 5, until)


def wait(condition: Any) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_every_job_ends_once(lane: RemoteLane) -> None:
    chance, backend = random.Random(4), Elsewhere()
    ends: Counter[int] = Counter()
    cancelled = set()
    for number in range(40):
        what = chance.choice([0, 1, 2, 3, 3, 3])

        def sink(event: object, number: int = number) -> None:
            ends[number] += isinstance(event, Finished | Failed)

        asked = job(backend, what, sink)
        lane.submit(asked)
        if what == 2 or chance.random() < 0.2:
            cancelled.add(number)
            threading.Timer(chance.random() / 10, lane.cancel, [asked]).start()
    wait(lambda: lane.jobs == 0)
    wait(lambda: backend.running == 0)
    assert backend.most == JOBS_AT_ONCE
    assert lane.running_rows == lane.waiting == 0
    assert all(ends[number] == 1 for number in range(40) if number not in cancelled)
    assert all(ends[number] <= 1 for number in cancelled)


def test_a_deadline_and_the_end_close_what_runs(lane: RemoteLane) -> None:
    backend = Elsewhere()
    heard: list[object] = []
    lane.submit(job(backend, 2, heard.append, deadline=0.1))
    wait(lambda: any(isinstance(event, Failed) for event in heard))
    wait(lambda: backend.running == 0)
    lane.submit(job(backend, 2, heard.append))
    wait(lambda: backend.running == 1)
    lane.drain(0)
    assert isinstance(heard[-1], Failed)
    assert isinstance(heard[-1].error, ShuttingDown)
    wait(lambda: backend.running == 0)
    with pytest.raises(ShuttingDown):
        lane.submit(job(backend, 3, heard.append))


def test_a_full_line_refuses(lane: RemoteLane) -> None:
    backend = Elsewhere()
    for _ in range(JOBS_AT_ONCE):
        lane.submit(job(backend, 2, lambda _: None))
    wait(lambda: lane.waiting == 0)
    for _ in range(100):
        lane.submit(job(backend, 3, lambda _: None))
    with pytest.raises(Overloaded):
        lane.submit(job(backend, 3, lambda _: None))
    assert lane.running_rows <= JOBS_AT_ONCE * 3
