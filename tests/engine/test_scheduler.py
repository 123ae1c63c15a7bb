"""The scheduler over a scripted backend: every job ends exactly once, slots are freed, persons take turns."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

import engine.lane
from engine.errors import Overloaded, ShuttingDown
from engine.jobs import Bias, Drawn, End, Failed, Finished, Job, RowPlan, RowSettings, Started
from engine.scheduler import Scheduler
from engine.schema import ErrorCode
from engine.testing import EventLog, ScriptedBackend, wait_until

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
    }
    return Job(backend=backend, prompt=[length, tag, fault], sink=log, **(options | given)), log


@pytest.fixture
def backend() -> ScriptedBackend:
    return ScriptedBackend(script)


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    running = Scheduler(max_rows=4, max_waiting=4)
    running.start()
    yield running
    running.drain(0)


class TestJobs:
    def test_a_job_gives_its_rows(self, scheduler: Scheduler, backend: ScriptedBackend) -> None:
        job, log = make_job(backend, 3, rows=2)
        scheduler.submit(job)
        log.wait()
        assert log.started == 2
        assert [(row.index, row.tokens, row.end) for row in log.results] == [
            (0, [50, 50, 50, END], End.TOKEN),
            (1, [50, 50, 50, END], End.TOKEN),
        ]
        assert log.positions == []

    def test_a_single_row_is_streamed(self, scheduler: Scheduler, backend: ScriptedBackend) -> None:
        job, log = make_job(backend, 3)
        scheduler.submit(job)
        log.wait()
        assert log.drawn == [50, 50, 50, END]
        assert [type(event) for event in log.events] == [Started, Drawn, Drawn, Drawn, Drawn, Finished]

    def test_a_row_ends_at_its_length(self, scheduler: Scheduler, backend: ScriptedBackend) -> None:
        job, log = make_job(backend, 30, max_new_tokens=5)
        scheduler.submit(job)
        log.wait()
        assert (log.results[0].tokens, log.results[0].end) == ([50] * 5, End.LENGTH)

    def test_a_row_ends_at_the_context(self, scheduler: Scheduler) -> None:
        small = ScriptedBackend(script, context=7)
        job, log = make_job(small, 30)
        scheduler.submit(job)
        log.wait()
        assert log.results[0].end is End.LENGTH
        assert len(log.results[0].tokens) == 5

    def test_more_rows_than_slots_are_decoded_in_turns(
        self, scheduler: Scheduler, backend: ScriptedBackend
    ) -> None:
        job, log = make_job(backend, 3, rows=11)
        scheduler.submit(job)
        log.wait()
        assert [row.index for row in log.results] == list(range(11))
        assert backend.most_rows <= 4

    def test_two_backends_share_the_thread(self, scheduler: Scheduler, backend: ScriptedBackend) -> None:
        other = ScriptedBackend(script)
        jobs = [make_job(backend, 5, 60), make_job(other, 5, 70)]
        for job, _ in jobs:
            scheduler.submit(job)
        assert [log.wait() and log.results[0].tokens[0] for _, log in jobs] == [60, 70]

    def test_a_guide_steers_and_ends_its_row(self, scheduler: Scheduler, backend: ScriptedBackend) -> None:
        class Guide:
            seen = 0

            def bias(self) -> Bias:
                return Bias(np.array([50, 7]), np.array([-np.inf, 99.0], dtype=np.float32))

            def observe(self, token: int) -> bool:
                assert token == 7
                self.seen += 1
                return self.seen == 2

            def fork(self) -> Guide:
                return self

        job, log = make_job(backend, 9, plan=lambda index: RowPlan(GREEDY, 0, index, Guide()))
        scheduler.submit(job)
        log.wait()
        assert (log.results[0].tokens, log.results[0].end) == ([7, 7], End.GUIDE)


class TestFaults:
    def test_a_step_that_raises_fails_its_jobs_and_no_others(
        self, scheduler: Scheduler, backend: ScriptedBackend
    ) -> None:
        other = ScriptedBackend(script)
        bad, bad_log = make_job(backend, fault=CRASH)
        beside, beside_log = make_job(backend, 20)
        elsewhere, elsewhere_log = make_job(other, 20)
        backend.hold.clear()
        for job in (bad, beside, elsewhere):
            scheduler.submit(job)
        backend.hold.set()
        elsewhere_log.wait()
        assert elsewhere_log.results
        for log in (bad_log, beside_log):
            log.wait()
            assert log.failure is not None
            assert log.failure.error.code is ErrorCode.INTERNAL
        again, again_log = make_job(backend, 2)
        scheduler.submit(again)
        assert isinstance(again_log.wait(), Finished)
        assert scheduler.running_rows == 0

    @pytest.mark.parametrize("method", ["plan", "bias", "observe"])
    def test_a_bug_in_one_request_costs_no_other(
        self, scheduler: Scheduler, backend: ScriptedBackend, method: str
    ) -> None:
        class Broken:
            def bias(self) -> Bias | None:
                return None if method == "observe" else 1 / 0  # type: ignore[return-value]

            def observe(self, token: int) -> bool:
                return bool(1 / 0)

            def fork(self) -> Broken:
                return self

        def plan(index: int) -> RowPlan:
            return RowPlan(GREEDY, 0, index, Broken()) if method != "plan" else 1 / 0  # type: ignore[return-value]

        good, good_log = make_job(backend, 20)
        bad, bad_log = make_job(backend, 5, plan=plan)
        scheduler.submit(good)
        scheduler.submit(bad)
        bad_log.wait()
        assert bad_log.failure is not None
        assert bad_log.failure.error.code is ErrorCode.INTERNAL
        good_log.wait()
        assert len(good_log.results[0].tokens) == 21

    def test_nan_fails_only_its_row(self, scheduler: Scheduler, backend: ScriptedBackend) -> None:
        bad, bad_log = make_job(backend, fault=NAN)
        good, good_log = make_job(backend, 10)
        scheduler.submit(good)
        scheduler.submit(bad)
        bad_log.wait()
        assert bad_log.failure is not None
        assert bad_log.failure.error.code is ErrorCode.INTERNAL
        good_log.wait()
        assert len(good_log.results[0].tokens) == 11

    def test_a_reader_who_is_gone_frees_the_row(self, scheduler: Scheduler, backend: ScriptedBackend) -> None:
        def gone(event: object) -> None:
            raise RuntimeError("Event loop is closed")

        job, _ = make_job(backend, 30)
        job.sink = gone
        scheduler.submit(job)
        wait_until(lambda: scheduler.jobs == 0)
        assert scheduler.running_rows == 0
        assert scheduler.healthy


class TestCancel:
    def test_rows_are_free_before_the_next_step(self, backend: ScriptedBackend) -> None:
        scheduler = Scheduler(max_rows=4, max_waiting=4)
        job, log = make_job(backend, 30, rows=4)
        scheduler.submit(job)
        scheduler.run_once()
        waiting, waiting_log = make_job(backend, 3)
        scheduler.submit(waiting)
        scheduler.run_once()
        assert waiting_log.started is None
        scheduler.cancel(job)
        scheduler.run_once()
        assert waiting_log.started == 1
        assert scheduler.running_rows == 1
        assert not log.ended.is_set()

    def test_a_waiting_job_leaves_the_line(self, backend: ScriptedBackend) -> None:
        scheduler = Scheduler(max_rows=1, max_waiting=4)
        jobs = [make_job(backend, 30) for _ in range(3)]
        for job, _ in jobs:
            scheduler.submit(job)
        scheduler.run_once()
        assert [log.positions for _, log in jobs] == [[], [0], [1]]
        scheduler.cancel(jobs[1][0])
        scheduler.run_once()
        assert jobs[2][1].positions == [1, 0]
        assert scheduler.waiting == 1

    def test_200_cancelled_jobs_leave_nothing(self, backend: ScriptedBackend) -> None:
        scheduler = Scheduler(max_rows=8, max_waiting=500)
        jobs = [make_job(backend, 39) for _ in range(200)]
        for job, _ in jobs:
            scheduler.submit(job)
        scheduler.run_once()
        for job, _ in jobs:
            scheduler.cancel(job)
        scheduler.run_once()
        assert (scheduler.running_rows, scheduler.waiting, scheduler.jobs) == (0, 0, 0)


class TestLimits:
    def test_a_full_line_refuses_with_a_time_to_come_back(self, backend: ScriptedBackend) -> None:
        scheduler = Scheduler(max_rows=1, max_waiting=3)
        for _ in range(3):
            scheduler.submit(make_job(backend)[0])
        with pytest.raises(Overloaded) as refusal:
            scheduler.submit(make_job(backend)[0])
        assert refusal.value.retry_after is not None
        assert 1 <= refusal.value.retry_after <= 60

    def test_one_person_gets_half_the_line_at_most(self, backend: ScriptedBackend) -> None:
        scheduler = Scheduler(max_rows=1, max_waiting=4)
        for _ in range(2):
            scheduler.submit(make_job(backend, person="a")[0])
        with pytest.raises(Overloaded):
            scheduler.submit(make_job(backend, person="a")[0])
        scheduler.submit(make_job(backend, person="b")[0])

    def test_a_follow_up_is_never_refused(self, backend: ScriptedBackend) -> None:
        scheduler = Scheduler(max_rows=1, max_waiting=1)
        scheduler.submit(make_job(backend)[0])
        scheduler.submit(make_job(backend)[0], follow_up=True)

    def test_persons_take_turns(self, backend: ScriptedBackend) -> None:
        scheduler = Scheduler(max_rows=1, max_waiting=40)
        many = [make_job(backend, 2, person="many") for _ in range(10)]
        few, few_log = make_job(backend, 2, person="few")
        for job, _ in many:
            scheduler.submit(job)
        scheduler.submit(few)
        while not few_log.ended.is_set():
            assert scheduler.run_once()
        assert sum(log.ended.is_set() for _, log in many) == 1

    def test_deadlines_end_running_and_waiting_jobs(self, backend: ScriptedBackend) -> None:
        scheduler = Scheduler(max_rows=1, max_waiting=4)
        jobs = [make_job(backend, 30, deadline=time.monotonic() - at) for at in (-0.02, -0.02)]
        for job, _ in jobs:
            scheduler.submit(job)
        scheduler.run_once()
        assert scheduler.running_rows == 1
        wait_until(lambda: time.monotonic() > jobs[1][0].deadline)
        scheduler.run_once()
        assert [log.failure and log.failure.error.code for _, log in jobs] == [ErrorCode.DEADLINE] * 2
        assert (scheduler.running_rows, scheduler.jobs) == (0, 0)


class TestDraining:
    def test_running_jobs_end_and_new_ones_are_refused(
        self, scheduler: Scheduler, backend: ScriptedBackend
    ) -> None:
        job, log = make_job(backend, 20)
        scheduler.submit(job)
        scheduler.drain(5)
        assert isinstance(log.events[-1], Finished)
        with pytest.raises(ShuttingDown):
            scheduler.submit(make_job(backend)[0])

    def test_what_does_not_end_in_time_is_told_so(self, backend: ScriptedBackend) -> None:
        scheduler = Scheduler(max_rows=1, max_waiting=4)
        jobs = [make_job(backend, 30) for _ in range(2)]
        for job, _ in jobs:
            scheduler.submit(job)
        scheduler.drain(0)
        for _, log in jobs:
            assert log.failure is not None
            assert log.failure.error.code is ErrorCode.SHUTTING_DOWN

    def test_health_follows_the_heartbeat(
        self, scheduler: Scheduler, backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert scheduler.healthy
        monkeypatch.setattr(engine.lane, "HEARTBEAT_SECONDS", 0.02)
        backend.hold.clear()
        scheduler.submit(make_job(backend)[0])
        wait_until(lambda: not scheduler.healthy)
        monkeypatch.setattr(engine.lane, "HEARTBEAT_SECONDS", 3.0)
        backend.hold.set()
        wait_until(lambda: scheduler.healthy)
        scheduler.drain(0)
        assert not scheduler.healthy


class SchedulerMachine(RuleBasedStateMachine):
    """Random arrivals, lengths, faults and cancels: every job ends exactly once, nothing leaks."""

    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.backend = ScriptedBackend(script)
        self.scheduler = Scheduler(max_rows=4, max_waiting=6)
        self.all: list[tuple[Job, EventLog, int, int, int]] = []
        self.cancelled: dict[int, int] = {}

    @rule(
        target=jobs,
        length=st.integers(0, 9),
        fault=st.sampled_from([0, 0, 0, NAN]),
        rows=st.one_of(st.none(), st.integers(1, 6)),
        person=st.sampled_from([None, "a", "b"]),
    )
    def submit(self, length: int, fault: int, rows: int | None, person: str | None) -> int:
        number = len(self.all)
        job, log = make_job(self.backend, length, 20 + number % 70, fault, rows=rows, person=person)
        try:
            self.scheduler.submit(job)
        except Overloaded:
            assert self.scheduler.waiting >= 3
            self.cancelled[number] = 0
        self.all.append((job, log, 0 if fault else length, rows or 0, 20 + number % 70))
        return number

    @rule(number=jobs)
    def cancel(self, number: int) -> None:
        job, log, *_ = self.all[number]
        self.scheduler.cancel(job)
        self.cancelled.setdefault(number, len(log.events))

    @rule()
    def step(self) -> None:
        self.scheduler.run_once()

    @invariant()
    def ends_come_once_and_last(self) -> None:
        for number, (_, log, *_) in enumerate(self.all):
            ends = [i for i, event in enumerate(log.events) if isinstance(event, Finished | Failed)]
            assert ends in ([], [len(log.events) - 1])
            if number in self.cancelled:
                assert len(log.events) == self.cancelled[number]

    @invariant()
    def rows_stay_within_bounds(self) -> None:
        assert self.scheduler.running_rows <= 4
        assert self.backend.most_rows <= 4

    def teardown(self) -> None:
        work = sum((length + 2) * max(rows, 8) for _, _, length, rows, _ in self.all) + 5
        for _ in range(work):
            self.scheduler.run_once()
        assert (self.scheduler.running_rows, self.scheduler.waiting, self.scheduler.jobs) == (0, 0, 0)
        for number, (job, log, length, rows, tag) in enumerate(self.all):
            if number in self.cancelled:
                continue
            assert log.ended.is_set()
            if job.prompt[2] == NAN:
                assert log.failure is not None or job.prompt[0] == 0
                continue
            assert len(log.results) == (rows or log.started)
            assert all(row.tokens == [tag] * length + [END] for row in log.results)


TestSchedulerMachine = SchedulerMachine.TestCase
TestSchedulerMachine.settings = hypothesis_settings(max_examples=60, stateful_step_count=40, deadline=None)
