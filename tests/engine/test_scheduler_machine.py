"""Random arrivals, faults, cancels, deadlines, pauses: jobs end once, nothing leaks, all are served."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from engine.backends.replicas import Replicas
from engine.errors import Overloaded
from engine.jobs import Failed, Finished, Job
from engine.scheduler import Scheduler
from engine.schema import ErrorCode
from engine.testing import EventLog, ScriptedBackend
from tests.engine.learners import Clock
from tests.engine.scripted_jobs import END, NAN, make_job, script

LONGEST = 9
STEPS_OF_A_ROW = LONGEST + 2


@dataclass
class Asked:
    """A job, what came of it, and from when on nothing may come any more."""

    job: Job
    log: EventLog
    silent_from: int | None = None


class SchedulerMachine(RuleBasedStateMachine):
    """Every job ends exactly once, slots never leak, rows are those asked for."""

    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.time = self.clock.running()
        self.time.__enter__()
        self.paused = False
        self.all: list[Asked] = []

    @initialize(
        max_rows=st.integers(1, 6),
        max_waiting=st.integers(1, 8),
        copies=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    )
    def build(self, max_rows: int, max_waiting: int, copies: list[int]) -> None:
        self.max_rows, self.max_waiting = max_rows, max_waiting
        scripted = [[ScriptedBackend(script) for _ in range(count)] for count in copies]
        self.alone = [few[0] for few in scripted if len(few) == 1]
        self.all_backends = [backend for few in scripted for backend in few]
        self.backends = [few[0] if len(few) == 1 else Replicas(few) for few in scripted]
        self.scheduler = Scheduler(max_rows=max_rows, max_waiting=max_waiting)

    @rule(
        target=jobs,
        length=st.integers(0, LONGEST),
        fault=st.sampled_from([0, 0, 0, NAN]),
        rows=st.one_of(st.none(), st.integers(1, 7)),
        person=st.sampled_from([None, "a", "b"]),
        group=st.sampled_from([None, None, "x", "y"]),
        backend=st.integers(0, 2),
        patience=st.sampled_from([3, 20, 1000]),
    )
    def submit(
        self,
        length: int,
        fault: int,
        rows: int | None,
        person: str | None,
        group: str | None,
        backend: int,
        patience: int,
    ) -> Asked:
        chosen = self.backends[backend % len(self.backends)]
        deadline = self.clock.now + patience
        tag = 20 + len(self.all) % 70
        job, log = make_job(
            chosen, length, tag, fault, rows=rows, person=person, group=group, deadline=deadline
        )
        asked = Asked(job, log)
        try:
            self.scheduler.submit(job)
        except Overloaded:
            assert self.scheduler.waiting >= self.max_waiting // 2
            asked.silent_from = 0
        self.all.append(asked)
        return asked

    @rule(asked=jobs)
    def cancel(self, asked: Asked) -> None:
        self.scheduler.cancel(asked.job)
        if asked.silent_from is None:
            asked.silent_from = len(asked.log.events)

    @rule(seconds=st.integers(0, 4), turns=st.integers(1, 5))
    def go_on(self, seconds: int, turns: int) -> None:
        for _ in range(turns):
            self.scheduler.run_once()
        self.clock.now += seconds

    @rule(paused=st.booleans())
    def pause_or_resume(self, paused: bool) -> None:
        self.paused = paused
        if paused:
            self.scheduler.pause()
        else:
            self.scheduler.resume()
        # A replica's thread may still be at the step it began before.
        steps = [backend.steps for backend in self.alone]
        self.scheduler.run_once()
        assert not paused or steps == [backend.steps for backend in self.alone]

    @invariant()
    def ends_come_once_and_last(self) -> None:
        for asked in self.all:
            events = asked.log.events
            ends = [i for i, event in enumerate(events) if isinstance(event, Finished | Failed)]
            assert ends in ([], [len(events) - 1])
            assert asked.silent_from in (None, len(events))

    @invariant()
    def rows_stay_within_bounds(self) -> None:
        if self.all:
            assert self.scheduler.running_rows <= self.max_rows
            assert all(backend.most_rows <= self.max_rows for backend in self.all_backends)

    def teardown(self) -> None:
        try:
            if self.all:
                self.finish()
        finally:
            self.time.__exit__(None, None, None)

    def finish(self) -> None:
        self.scheduler.resume()
        # A turn collects the step of one replica.
        for _ in range(STEPS_OF_A_ROW * 16 * len(self.all) + 5):
            self.scheduler.run_once()
        assert (self.scheduler.running_rows, self.scheduler.waiting, self.scheduler.jobs) == (0, 0, 0)
        for asked in self.all:
            if asked.silent_from is None:
                self.check(asked.job, asked.log)

    def check(self, job: Job, log: EventLog) -> None:
        length, tag, fault = job.prompt
        assert log.ended.is_set()
        if log.failure is not None:
            late = log.failure.error.code is ErrorCode.DEADLINE and self.clock.now > job.deadline
            assert late or (fault == NAN and log.failure.error.code is ErrorCode.INTERNAL)
            return
        assert fault != NAN or length == 0
        assert [row.index for row in log.results] == list(range(job.rows or log.started or 0))
        assert all(row.tokens == [tag] * length + [END] for row in log.results)
        if log.drawn:
            assert log.drawn == log.results[0].tokens


TestSchedulerMachine = SchedulerMachine.TestCase
TestSchedulerMachine.settings = hypothesis_settings(max_examples=60, stateful_step_count=40, deadline=None)


@hypothesis_settings(max_examples=40, deadline=None)
@given(
    flood=st.lists(
        st.tuples(st.sampled_from("abcd"), st.sampled_from([None, "x"]), st.sampled_from([None, 1, 3, 9])),
        min_size=60,
        max_size=120,
    ),
    max_rows=st.integers(1, 8),
    group=st.sampled_from([None, "x", "y"]),
)
def test_nobody_waits_for_longer_than_a_turn_of_everybody(
    flood: list[tuple[str, str | None, int | None]], max_rows: int, group: str | None
) -> None:
    scheduler, backend = Scheduler(max_rows=max_rows, max_waiting=12), ScriptedBackend(script)
    coming = list(flood)

    def others_ask() -> None:
        while coming:
            person, where, rows = coming[-1]
            try:
                scheduler.submit(make_job(backend, LONGEST, rows=rows, person=person, group=where)[0])
            except Overloaded:
                return
            coming.pop()

    job, log = make_job(backend, 2, person="learner", group=group)
    scheduler.submit(job)
    for _ in range(4):
        others_ask()
        scheduler.run_once()
    late, late_log = make_job(backend, 2, person="late", group=group)
    scheduler.submit(late, follow_up=True)
    # Others may have a turn each, once for everybody in the learner's group: as long as a row takes each.
    groups, members = len("abcd") + len("x") + 1, {None: 1, "x": len("abcd") + 2, "y": 2}[group]
    turns = 0
    while late_log.started is None:
        others_ask()
        scheduler.run_once()
        turns += 1
        assert turns <= (groups + 1) * members * STEPS_OF_A_ROW
    assert log.started == 1
