"""Many readers of the story service, some of whom leave; limits, faults, the end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

import pytest

import engine.lane
from engine.schema import (
    DoneEvent,
    ErrorCode,
    ErrorEvent,
    QueuedEvent,
    StoryRequest,
)
from engine.service import StoryService
from engine.telling import SEEDED_ROWS
from engine.testing import ScriptedBackend
from tests import tiny_model
from tests.engine.conftest import Open
from tests.engine.storytelling import events_of, refusal, story, typist


class TestLoad:
    async def test_a_reader_who_leaves_frees_the_rows(self, open_service: Open) -> None:
        backend = typist(" They ran and ran" * 30)
        service = await open_service(backend, max_rows=4)
        backend.hold.clear()
        async with aclosing(service.stories(StoryRequest(n_candidates=4))) as events:
            waiting = asyncio.ensure_future(anext(events))
            while service.gauges()["running_rows"] < 4:
                await asyncio.sleep(0.005)
            waiting.cancel()
            await asyncio.wait([waiting])
        backend.hold.set()
        while service.gauges()["running_rows"]:
            await asyncio.sleep(0.005)
        assert service.gauges()["requests"] == 0

    async def test_200_readers_who_leave_cost_nothing(self, service: StoryService) -> None:
        async def leave() -> None:
            await events_of(service, n_candidates=4)

        tasks = [asyncio.create_task(leave()) for _ in range(200)]
        await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while service.gauges()["requests"]:
            await asyncio.sleep(0.005)
        assert (await story(service, seed=1)).text
        assert service.healthy

    async def test_overload_is_refused_at_once_with_a_time(self, open_service: Open) -> None:
        backend = typist(" The dog ran home.")
        service = await open_service(backend, max_rows=1, max_waiting=2)
        backend.hold.clear()
        tasks = [asyncio.create_task(events_of(service, n_candidates=1)) for _ in range(8)]
        async with asyncio.timeout(10):
            while sum(task.done() for task in tasks) < 5:
                await asyncio.sleep(0.01)
        (refused,) = next(task.result() for task in tasks if task.done())
        assert isinstance(refused, ErrorEvent)
        assert refused.code is ErrorCode.OVERLOADED
        assert refused.retry_after is not None
        assert refused.retry_after >= 1
        backend.hold.set()
        answers = [events[-1] for events in await asyncio.gather(*tasks)]
        assert 2 <= sum(isinstance(event, DoneEvent) for event in answers) <= 3
        places = [
            event.position for task in tasks for event in task.result() if isinstance(event, QueuedEvent)
        ]
        assert 0 in places

    async def test_fewer_candidates_under_pressure(self, service: StoryService) -> None:
        assert (await story(service)).n == SEEDED_ROWS
        crowd = await asyncio.gather(*(story(service) for _ in range(24)))
        assert min(result.n for result in crowd) <= 2

    async def test_a_story_past_its_deadline(self, open_service: Open) -> None:
        backend = typist(" The dog ran home.")
        service = await open_service(backend, deadline_seconds=0.05)
        backend.hold.clear()
        asked = asyncio.create_task(refusal(service, n_candidates=1))
        await asyncio.sleep(0.05)
        backend.hold.set()
        assert (await asked).code is ErrorCode.DEADLINE

    async def test_a_model_that_stumbles(self, open_service: Open) -> None:
        def crash(prompt: Sequence[int], written: Sequence[int]) -> int:
            raise MemoryError("scripted")

        service = await open_service(ScriptedBackend(crash, vocab_size=tiny_model.VOCABULARY))
        assert (await refusal(service)).code is ErrorCode.INTERNAL
        assert (await story(service, model="second", seed=1)).text
        assert service.healthy

    async def test_a_bug_gives_an_error_and_no_traceback(
        self, service: StoryService, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("engine.authoring.level_report", lambda *_: 1 / 0)
        error = await refusal(service, n_candidates=1)
        assert error.code is ErrorCode.INTERNAL
        assert "division" not in error.message

    async def test_closing_lets_running_stories_end(self, open_service: Open) -> None:
        service = await open_service()
        asked = asyncio.create_task(story(service, seed=3))
        while not service.gauges()["running_rows"]:
            await asyncio.sleep(0.005)
        await service.aclose(10)
        assert (await asked).text
        assert not service.ready
        assert not service.healthy

    async def test_closing_ends_what_takes_too_long(
        self, open_service: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        backend = typist(" The dog ran home.")
        service = await open_service(backend)
        # Closing does not wait longer for a thread that is stuck in a step.
        monkeypatch.setattr(engine.lane, "HEARTBEAT_SECONDS", 0.05)
        backend.hold.clear()
        asked = asyncio.create_task(refusal(service))
        while not service.gauges()["running_rows"]:
            await asyncio.sleep(0.005)
        closing = asyncio.create_task(service.aclose(0.05))
        assert (await asked).code is ErrorCode.SHUTTING_DOWN
        backend.hold.set()
        await closing

    async def test_a_hung_backend_is_unhealthy(
        self, open_service: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        backend = typist(" The dog ran home.")
        service = await open_service(backend)
        assert service.healthy
        monkeypatch.setattr(engine.lane, "HEARTBEAT_SECONDS", 0.02)
        backend.hold.clear()
        asked = asyncio.create_task(events_of(service, n_candidates=1))
        while service.healthy:
            await asyncio.sleep(0.005)
        monkeypatch.setattr(engine.lane, "HEARTBEAT_SECONDS", 3.0)
        backend.hold.set()
        await asked
        assert service.healthy
