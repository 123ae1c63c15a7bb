"""The scheduler over a scripted backend: every job ends exactly once, slots are freed, persons take turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import engine.lane
from engine.backends.base import WholeJob
from engine.errors import Overloaded, ShuttingDown
from engine.jobs import Bias, Drawn, End, Finished, JobEvent, RowPlan, RowResult, Started
from engine.scheduler import Scheduler
from engine.schema import ErrorCode
from engine.testing import ScriptedBackend, wait_until
from engine.whole import WholeLane
from tests.engine.scripted_jobs import END, GREEDY, make_job, script


@pytest.fixture
def backend() -> ScriptedBackend:
    return ScriptedBackend(script)


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    running = Scheduler(max_rows=4, max_waiting=4)
    running.start()
    yield running
    running.drain(0)


def _notes(order: list[str], who: str) -> Callable[[JobEvent], None]:
    """Return a sink that notes who was begun."""

    def sink(event: JobEvent) -> None:
        if isinstance(event, Started):
            order.append(who)

    return sink


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

    def test_rows_that_join_apart_go_on_from_their_own_prompt(self, backend: ScriptedBackend) -> None:
        scheduler = Scheduler(max_rows=4, max_waiting=4)
        (several, several_log), (single, single_log) = (
            make_job(backend, 3, 50, rows=3),
            make_job(backend, 3, 60),
        )
        # The first two rows of the one, then the other's, then its third: all in one step.
        scheduler.submit(several)
        scheduler.submit(single)
        while scheduler.jobs:
            scheduler.run_once()
        assert [row.tokens for row in several_log.results] == [[50, 50, 50, END]] * 3
        assert single_log.results[0].tokens == [60, 60, 60, END]

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

    def test_one_group_gets_three_quarters_of_the_line_at_most(self, backend: ScriptedBackend) -> None:
        scheduler = Scheduler(max_rows=1, max_waiting=8)
        for number in range(6):
            scheduler.submit(make_job(backend, person=f"pupil {number}", group="class")[0])
        with pytest.raises(Overloaded):
            scheduler.submit(make_job(backend, person="late", group="class")[0])
        scheduler.submit(make_job(backend, person="late", group="other class")[0])
        scheduler.submit(make_job(backend, person="late")[0])
        assert scheduler.waiting == 8

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

    def test_a_class_and_a_lone_learner_take_turns(self, backend: ScriptedBackend) -> None:
        scheduler = Scheduler(max_rows=1, max_waiting=40)
        order: list[str] = []
        for number in range(9):
            who = f"pupil {number % 3}"
            scheduler.submit(make_job(backend, 2, person=who, group="class", sink=_notes(order, who))[0])
        for _ in range(3):
            scheduler.submit(make_job(backend, 2, person="lone", sink=_notes(order, "lone"))[0])
        while scheduler.jobs:
            scheduler.run_once()
        assert order[:6] == ["pupil 0", "lone", "pupil 1", "lone", "pupil 2", "lone"]
        assert order[6:] == ["pupil 0", "pupil 1", "pupil 2"] * 2

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


class TestPausing:
    def test_nothing_steps_and_nobody_begins_until_it_goes_on(self, backend: ScriptedBackend) -> None:
        scheduler = Scheduler(max_rows=2, max_waiting=4)
        running, running_log = make_job(backend, 3)
        scheduler.submit(running)
        scheduler.run_once()
        scheduler.pause()
        waiting, waiting_log = make_job(backend, 3)
        scheduler.submit(waiting)
        steps = backend.steps
        for _ in range(5):
            assert not scheduler.run_once()
        assert backend.steps == steps
        assert (waiting_log.started, waiting_log.positions) == (None, [0])
        scheduler.resume()
        while scheduler.run_once():
            pass
        assert [len(log.results[0].tokens) for log in (running_log, waiting_log)] == [4, 4]

    def test_cancels_and_deadlines_count_while_paused(self, backend: ScriptedBackend) -> None:
        scheduler = Scheduler(max_rows=2, max_waiting=4)
        jobs = [make_job(backend, 30, deadline=time.monotonic() + 0.02), make_job(backend, 30)]
        for job, _ in jobs:
            scheduler.submit(job)
        scheduler.run_once()
        assert scheduler.running_rows == 2
        scheduler.pause()
        scheduler.cancel(jobs[1][0])
        wait_until(lambda: time.monotonic() > jobs[0][0].deadline)
        scheduler.run_once()
        scheduler.run_once()
        failure = jobs[0][1].failure
        assert failure is not None
        assert failure.error.code is ErrorCode.DEADLINE
        assert (scheduler.running_rows, scheduler.jobs) == (0, 0)

    def test_a_paused_lane_is_healthy_and_drains(
        self, scheduler: Scheduler, backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(engine.lane, "IDLE_SECONDS", 0.01)
        monkeypatch.setattr(engine.lane, "HEARTBEAT_SECONDS", 0.5)
        scheduler.pause()
        job, log = make_job(backend, 3)
        scheduler.submit(job)
        time.sleep(0.6)
        assert scheduler.healthy
        assert log.started is None
        scheduler.drain(5)
        assert isinstance(log.events[-1], Finished)

    def test_a_whole_text_stops_between_its_steps(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Slow:
            vocab_size, context, steps = 10, 100, 0

            def generate(self, job: WholeJob) -> list[RowResult]:
                while self.steps < 1000 and not job.stop():
                    self.steps += 1
                    time.sleep(0.001)
                return [RowResult(0, [2])]

        monkeypatch.setattr("engine.whole.IDLE_SECONDS", 0.01)
        lane, slow = WholeLane(max_waiting=2), Slow()
        lane.start()
        job, log = make_job(slow)  # type: ignore[arg-type]
        lane.submit(job)
        wait_until(lambda: slow.steps > 3)
        lane.pause()
        time.sleep(0.02)
        steps = slow.steps
        time.sleep(0.05)
        assert slow.steps <= steps + 1
        assert lane.healthy
        slow.steps = 1000
        lane.resume()
        assert isinstance(log.wait(), Finished)
        lane.drain(0)
