"""What goes wrong costs those concerned, in a clear sentence, and nobody else: the next story is told."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from engine.authoring import job_events
from engine.config import EngineSettings
from engine.errors import Overloaded
from engine.jobs import Bias, Finished, Job, JobEvent, RowPlan
from engine.scheduler import Scheduler
from engine.schema import ErrorCode
from engine.server import create_app
from engine.service import StoryService
from engine.testing import EventLog, ScriptedBackend, wait_until
from tests import tiny_model
from tests.engine.scripted_jobs import CRASH, GREEDY, NAN, make_job, script

MEMORY = "There was not enough memory for this story. Please try again."


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Keep tracebacks, which are expected here, from being drawn: that takes a second each."""
    with capture_logs():
        yield


@pytest.fixture
def backend() -> ScriptedBackend:
    return ScriptedBackend(script)


@pytest.fixture
def scheduler() -> Scheduler:
    return Scheduler(max_rows=8, max_waiting=8)


@pytest.fixture
def started(scheduler: Scheduler) -> Iterator[Scheduler]:
    scheduler.start()
    yield scheduler
    scheduler.drain(0)


def run(scheduler: Scheduler, *jobs: Job) -> None:
    """Submit jobs and go on until nothing is left to do."""
    for job in jobs:
        scheduler.submit(job)
    while scheduler.jobs:
        scheduler.run_once()


def failure(log: EventLog) -> tuple[ErrorCode, str]:
    """Return code and sentence of a job that must have failed."""
    assert log.failure is not None, log.events
    return log.failure.error.code, log.failure.error.message


def assert_works(scheduler: Scheduler, backend: ScriptedBackend) -> None:
    """Let the next job have all rows."""
    job, log = make_job(backend, 2, rows=8)
    run(scheduler, job)
    assert len(log.results) == 8
    assert (scheduler.running_rows, scheduler.jobs) == (0, 0)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (MemoryError(), MEMORY),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), MEMORY),
        (ValueError("shapes"), "The storyteller stumbled over this request."),
    ],
)
@pytest.mark.parametrize("method", ["step", "copy"])
def test_a_prompt_that_fails_costs_those_who_join_and_no_others(
    scheduler: Scheduler, backend: ScriptedBackend, error: Exception, sentence: str, method: str
) -> None:
    good, good_log = make_job(backend, 30)
    scheduler.submit(good)
    scheduler.run_once()
    real, broken = getattr(backend, method), [error]

    def fail_once(*args: Any) -> Any:
        if broken and (method == "copy" or len(args[0]) > 1):
            raise broken.pop()
        return real(*args)

    setattr(backend, method, fail_once)
    bad, bad_log = make_job(backend, 5, rows=2)
    run(scheduler, bad)
    assert failure(bad_log) == (ErrorCode.INTERNAL, sentence)
    assert len(good_log.results[0].tokens) == 31
    assert_works(scheduler, backend)


def test_a_step_out_of_memory_costs_the_running_rows_of_that_model(
    scheduler: Scheduler, backend: ScriptedBackend
) -> None:
    other = ScriptedBackend(script)
    bad, beside, elsewhere = make_job(backend, fault=CRASH), make_job(backend, 20), make_job(other, 20)
    run(scheduler, bad[0], beside[0], elsewhere[0])
    assert failure(bad[1]) == failure(beside[1]) == (ErrorCode.INTERNAL, MEMORY)
    assert elsewhere[1].results
    assert_works(scheduler, backend)


def test_rows_that_cannot_be_moved_fail_and_the_next_job_works(
    scheduler: Scheduler, backend: ScriptedBackend
) -> None:
    (short, _), (long, long_log) = make_job(backend, 1), make_job(backend, 30)
    real, backend.copy = backend.copy, lambda *_: 1 / 0  # type: ignore[assignment, method-assign, return-value]
    run(scheduler, short, long)
    assert failure(long_log)[0] is ErrorCode.INTERNAL
    backend.copy = real  # type: ignore[method-assign]
    assert_works(scheduler, backend)


@pytest.mark.parametrize("method", ["plan", "bias", "observe"])
def test_a_bug_in_one_request_costs_no_other(
    scheduler: Scheduler, backend: ScriptedBackend, method: str
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

    (good, good_log), (bad, bad_log) = make_job(backend, 20), make_job(backend, 5, plan=plan)
    run(scheduler, good, bad)
    assert failure(bad_log) == (ErrorCode.INTERNAL, "The storyteller stumbled over this request.")
    assert len(good_log.results[0].tokens) == 21
    assert_works(scheduler, backend)


def test_nan_fails_only_its_job(scheduler: Scheduler, backend: ScriptedBackend) -> None:
    (good, good_log), (bad, bad_log) = make_job(backend, 10), make_job(backend, fault=NAN)
    run(scheduler, good, bad)
    assert failure(bad_log) == (
        ErrorCode.INTERNAL,
        "The model's numbers went wrong for this request.",
    )
    assert len(good_log.results[0].tokens) == 11
    assert_works(scheduler, backend)


def test_nan_in_one_row_leaves_the_other_rows_of_the_job(scheduler: Scheduler) -> None:
    calls: list[int] = []

    def moody(prompt: Sequence[int], written: Sequence[int]) -> int | None:
        calls.append(1)
        # One call for the prompt, then one a row.
        return None if len(calls) == 3 else script(prompt, written)

    job, log = make_job(ScriptedBackend(moody), 3, rows=3)
    run(scheduler, job)
    assert [(row.index, len(row.tokens)) for row in log.results] == [(0, 4), (2, 4)]


@pytest.mark.parametrize("length", [0, 512, 600])
def test_a_prompt_without_room_fails_alone(
    scheduler: Scheduler, backend: ScriptedBackend, length: int
) -> None:
    (bad, bad_log), (good, good_log) = make_job(backend), make_job(backend, 5)
    bad.prompt = [4] * length
    run(scheduler, bad, good)
    assert failure(bad_log) == (ErrorCode.INVALID_REQUEST, "That is too much text for this model.")
    assert len(good_log.results[0].tokens) == 6
    assert_works(scheduler, backend)


async def test_a_slow_reader_has_a_handful_of_events(started: Scheduler, backend: ScriptedBackend) -> None:
    def job_for(sink: Any) -> Job:
        job, log = make_job(backend, 39, sink=lambda event: (log(event), sink(event)))
        logs.append(log)
        return job

    logs: list[EventLog] = []
    source = job_events(started, job_for, follow_up=False)
    seen: list[JobEvent] = [await anext(source)]
    logs[0].wait()
    seen += [event async for event in source]
    assert len(logs[0].drawn) == 40
    assert len(seen) <= 5
    assert isinstance(seen[-1], Finished)


def test_a_reader_whose_loop_was_closed_frees_the_rows(started: Scheduler, backend: ScriptedBackend) -> None:
    async def ask() -> None:
        source = job_events(started, lambda sink: make_job(backend, 39, sink=sink)[0], follow_up=False)
        backend.hold.clear()
        sources.append(source)
        await anext(source)

    sources: list[Any] = []
    loop = asyncio.new_event_loop()
    loop.run_until_complete(ask())
    loop.close()
    assert started.jobs == 1
    backend.hold.set()
    wait_until(lambda: (started.jobs, started.running_rows) == (0, 0))
    assert started.healthy


def fill(scheduler: Scheduler, backend: ScriptedBackend) -> None:
    """Submit more than the line can hold."""
    for _ in range(40):
        scheduler.submit(make_job(backend, 20)[0])


def test_a_clock_that_jumps_changes_nothing(
    started: Scheduler, backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    lots = random.Random(1)
    monkeypatch.setattr(time, "time", lambda: 1.7e9 + lots.uniform(-1e8, 1e8))
    jobs = [make_job(backend, 20, rows=4) for _ in range(4)]
    for job, _ in jobs:
        started.submit(job)
    assert all(isinstance(log.wait(), Finished) for _, log in jobs)
    backend.hold.clear()
    with pytest.raises(Overloaded) as refused:
        fill(started, backend)
    backend.hold.set()
    assert 1 <= (refused.value.retry_after or 0) <= 60
    assert started.healthy


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_model.build(folder / "storyteller")
    return folder


@pytest.fixture
async def http(models: Path) -> AsyncIterator[httpx.AsyncClient]:
    service = StoryService(EngineSettings(models_dir=models, threads=1))
    await service.start()
    transport = httpx.ASGITransport(create_app(service))
    async with httpx.AsyncClient(transport=transport, base_url="http://engine") as client:
        yield client
    await service.aclose(0)


async def test_bad_requests_are_told_why_and_the_next_one_works(http: httpx.AsyncClient) -> None:
    text = "Tom ran away from home. " * 240
    for body, said in (
        ({"words": [f"word{number}" for number in range(50)]}, "words"),
        ({"kind": "continue", "parent": text, "opening": text[:390]}, "too much text"),
        ({"kind": "continue"}, "story to start from"),
        ({"n_candidates": 6, "decoding": {"num_beams": 2}}, "raise num_beams"),
        ({"decoding": {"temperature": -1}}, "temperature"),
        ({"decoding": {"max_new_tokens": 100000}}, "max_new_tokens"),
    ):
        answer = await http.post("/v1/stories", json=body)
        assert 400 <= answer.status_code < 500, body
        assert said in answer.text
    answer = await http.post("/v1/stories", json={"words": ["dog"], "decoding": {"max_new_tokens": 24}})
    assert answer.status_code == 200
    assert answer.json()["words_missed"] == []
