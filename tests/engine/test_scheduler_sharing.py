"""How rows are shared: many drafts for one alone, a row each when many ask, given up by who has more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.backends.base import Ints, Logits
from engine.jobs import Finished, Job, Narrowed, RowPlan, RowSettings, Started
from engine.pace import Pace
from engine.scheduler import Scheduler
from engine.testing import EventLog, ScriptedBackend
from tests.engine.learners import Costs, percentile, simulate
from tests.engine.scripted_jobs import make_job, script

LENGTH = 30


class Undecided(ScriptedBackend):
    """Finds every token as likely as any other, so that seeds decide."""

    def step(self, tokens: Ints, slots: Ints, positions: Ints, rows: Ints) -> Logits:
        return np.zeros_like(super().step(tokens, slots, positions, rows))


def drafts(backend: ScriptedBackend, rows: int | None, seed: int = 1, **given: Any) -> tuple[Job, EventLog]:
    """Return a job of drafts of LENGTH random tokens."""
    plan: Callable[[int], RowPlan] = lambda index: RowPlan(RowSettings(), seed, index)  # noqa: E731
    return make_job(backend, rows=rows, plan=plan, max_new_tokens=LENGTH, end_ids=frozenset(), **given)


class OneToken:
    """A guide that ends its row with the first token."""

    def bias(self) -> None:
        return None

    def observe(self, token: int) -> bool:
        return True

    def fork(self) -> OneToken:
        return self


def greedy(index: int, *, short: bool) -> RowPlan:
    """Return the plan of a row that follows the script, or ends at once."""
    return RowPlan(RowSettings(temperature=0.0), 0, index, OneToken() if short else None)


def run(scheduler: Scheduler) -> None:
    while scheduler.jobs:
        scheduler.run_once()


class TestWaitingTimes:
    """On a clock that steps move: 1 ms, 0.2 ms a row, 0.1 ms a prompt token, about 100 tokens a story."""

    def test_one_learner_gets_all_drafts_within_a_second(self) -> None:
        (learner,) = simulate(1, 0.0)
        assert learner.n == 32
        assert learner.whole < 1.0

    @pytest.mark.parametrize("over", [0.0, 1.0])
    @pytest.mark.parametrize("learners", [32, 48])
    def test_the_first_text_comes_soon_when_many_ask(self, learners: int, over: float) -> None:
        people = simulate(learners, over)
        assert percentile([person.first for person in people], 0.95) < 0.5
        assert percentile([person.whole for person in people], 0.95) < 1.5

    @pytest.mark.parametrize("learners", [2, 4, 8])
    def test_a_few_learners_get_several_drafts_each(self, learners: int) -> None:
        people = simulate(learners, 0.0)
        assert min(person.n for person in people) >= 2
        assert max(person.whole for person in people) < 1.0

    def test_throughput_does_not_fall_with_more_learners(self) -> None:
        ends = {learners: max(person.whole for person in simulate(learners, 0.0)) for learners in (8, 32, 64)}
        rates = [learners / seconds for learners, seconds in ends.items()]
        assert rates == sorted(rates)

    def test_a_slow_model_writes_fewer_drafts_for_one_learner(self) -> None:
        (learner,) = simulate(1, 0.0, costs=Costs(step=2.2, row=0.65, prompt_token=0.4))
        assert 4 <= learner.n <= 16
        (learner,) = simulate(1, 0.0, costs=Costs(step=20, row=5, prompt_token=2))
        assert learner.n == 1
        assert learner.first < learner.whole / 2


class TestNarrowing:
    @pytest.mark.parametrize("steps", [1, 7, 25])
    @pytest.mark.parametrize("others", [1, 3, 31])
    def test_a_job_gives_up_drafts_for_those_who_come_later(self, steps: int, others: int) -> None:
        scheduler, backend = Scheduler(max_rows=48, max_waiting=64), Undecided(script)
        job, log = drafts(backend, None)
        scheduler.submit(job)
        for _ in range(steps):
            scheduler.run_once()
        assert log.started == 32
        late = [drafts(backend, None, seed=2 + number) for number in range(others)]
        for other, _ in late:
            scheduler.submit(other)
        scheduler.run_once()
        assert all(other_log.started for _, other_log in late)
        assert scheduler.running_rows <= 48
        run(scheduler)
        n = log.started
        assert n is not None
        assert n == {1: 24, 3: 12, 31: 1}[others]
        again, again_log = drafts(Undecided(script), n)
        alone = Scheduler(max_rows=48, max_waiting=1)
        alone.submit(again)
        run(alone)
        assert [row.tokens for row in log.results] == [row.tokens for row in again_log.results]
        assert log.drawn == (log.results[0].tokens if n == 1 else [])

    def test_a_job_whose_kept_draft_has_ended_is_finished_at_once(self) -> None:
        scheduler, backend = Scheduler(max_rows=4, max_waiting=9), ScriptedBackend(script)
        ends_at_once = RowSettings(temperature=0.0)

        class Ends:
            def bias(self) -> None:
                return None

            def observe(self, token: int) -> bool:
                return True

            def fork(self) -> Ends:
                return self

        job, log = make_job(
            backend,
            9,
            rows=None,
            plan=lambda index: RowPlan(ends_at_once, 0, index, None if index else Ends()),
        )
        scheduler.submit(job)
        scheduler.run_once()
        for _ in range(5):
            scheduler.submit(make_job(backend, 9)[0])
        scheduler.run_once()
        assert [type(event) for event in log.events[:2]] == [Started, Narrowed]
        assert isinstance(log.events[-1], Finished)
        assert log.drawn == log.results[0].tokens == [50]
        run(scheduler)

    def test_a_job_whose_other_drafts_have_ended_keeps_them(self) -> None:
        scheduler, backend = Scheduler(max_rows=8, max_waiting=9), ScriptedBackend(script)
        job, log = make_job(backend, 9, rows=None, plan=lambda index: greedy(index, short=index % 2 == 1))
        scheduler.submit(job)
        scheduler.run_once()
        assert scheduler.running_rows == 4
        scheduler.submit(make_job(backend, 9, rows=None)[0])
        run(scheduler)
        assert len(log.results) == 8

    def test_drafts_that_were_asked_for_are_kept(self) -> None:
        scheduler, backend = Scheduler(max_rows=8, max_waiting=9), ScriptedBackend(script)
        job, log = make_job(backend, 9, rows=8)
        scheduler.submit(job)
        scheduler.run_once()
        scheduler.submit(make_job(backend, 9, rows=None)[0])
        run(scheduler)
        assert len(log.results) == 8
        assert not any(isinstance(event, Narrowed) for event in log.events)


class TestBounds:
    def test_one_person_never_holds_all_rows_with_several_jobs(self) -> None:
        scheduler, backend = Scheduler(max_rows=8, max_waiting=20), ScriptedBackend(script)
        for _ in range(9):
            scheduler.submit(make_job(backend, 20, rows=4, person="busy")[0])
        for _ in range(3):
            scheduler.run_once()
        assert scheduler.running_rows == 6
        other, log = make_job(backend, 2, person="other")
        scheduler.submit(other)
        scheduler.run_once()
        assert log.started == 1

    def test_one_group_never_holds_all_rows(self) -> None:
        scheduler, backend = Scheduler(max_rows=16, max_waiting=60), ScriptedBackend(script)
        for number in range(30):
            scheduler.submit(make_job(backend, 20, person=f"pupil {number}", group="class")[0])
        for _ in range(3):
            scheduler.run_once()
        assert scheduler.running_rows == 14
        other, log = make_job(backend, 2, person="lone")
        scheduler.submit(other)
        scheduler.run_once()
        assert log.started == 1

    def test_a_single_job_may_have_all_rows_while_nobody_else_asks(self) -> None:
        scheduler, backend = Scheduler(max_rows=8, max_waiting=20), ScriptedBackend(script)
        scheduler.submit(make_job(backend, 20, rows=8, person="one", group="class")[0])
        scheduler.run_once()
        assert scheduler.running_rows == 8

    def test_a_thousand_waiting_are_left_as_fast_as_they_came(self) -> None:
        scheduler, backend = Scheduler(max_rows=1, max_waiting=3000), ScriptedBackend(script)
        jobs = [make_job(backend, 9, person=f"p{number % 3}")[0] for number in range(1500)]
        for job in jobs:
            scheduler.submit(job)
        scheduler.run_once()
        for job in jobs:
            scheduler.cancel(job)
        scheduler.run_once()
        assert (scheduler.jobs, scheduler.waiting, scheduler.running_rows) == (0, 0, 0)


class TestPace:
    @given(
        fixed=st.floats(0.0005, 0.02),
        by_row=st.floats(0.0001, 0.005),
        rows=st.lists(st.integers(1, 48), min_size=30, max_size=200),
        asked=st.integers(1, 48),
    )
    def test_it_finds_what_steps_cost(self, fixed: float, by_row: float, rows: list[int], asked: int) -> None:
        pace = Pace()
        for count in (1, 32, *rows, 1, 32):
            pace.note(count, fixed + by_row * count)
        found = pace.rows_within(fixed + by_row * asked)
        assert found == pytest.approx(asked, rel=0.02, abs=0.2)

    def test_steps_of_one_size_say_enough_to_begin_with(self) -> None:
        pace = Pace()
        assert pace.rows_within(0.01) == float("inf")
        for _ in range(50):
            pace.note(1, 0.001)
        assert 20 <= pace.rows_within(0.01) <= 60

    def test_a_stall_is_not_taken_for_the_pace(self) -> None:
        pace = Pace()
        for count in (1, 8, 32) * 20:
            pace.note(count, 0.001 + 0.0002 * count)
        before = pace.rows_within(0.006)
        pace.note(16, 3.0)
        assert pace.rows_within(0.006) > before / 2
        for count in (1, 8, 32) * 100:
            pace.note(count, 0.01 + 0.002 * count)
        assert pace.rows_within(0.06) == pytest.approx(25, rel=0.2)
