"""Jobs: one worker each, taken over when a worker dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from storage import LeaseLost, NotFound, StorageSettings, Store


class FakeClock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 21, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def store(settings: StorageSettings, clock: FakeClock) -> AsyncIterator[Store]:
    async with await Store.open(settings, clock=clock) as opened:
        yield opened


async def test_a_job_from_queued_to_done(store: Store, clock: FakeClock) -> None:
    person = await store.people.resolve("console", "me")
    queued = await store.jobs.add("retrain", {"votes": 12}, created_by=person.id)
    assert (queued.state, queued.created_by, queued.attempts) == ("queued", person.id, 0)
    clock.forward(5)
    job = await store.jobs.claim("retrain", "worker-1", lease_seconds=30)
    assert job is not None
    assert (job.id, job.state, job.owner, job.attempts) == (queued.id, "running", "worker-1", 1)
    assert job.lease_until == clock.now + timedelta(seconds=30)
    assert (await store.jobs.progress(job.id, {"step": 3})).progress == {"step": 3}
    done = await store.jobs.finish(job.id, "done", {"promoted": False}, owner="worker-1")
    assert (done.state, done.result, done.progress) == ("done", {"promoted": False}, {"step": 3})
    assert done.lease_until is None
    assert await store.jobs.get(job.id) == done
    assert await store.jobs.claim("retrain", "worker-2", 30) is None


async def test_jobs_are_handed_out_oldest_first_by_kind(store: Store) -> None:
    jobs = [await store.jobs.add(kind, {}) for kind in ("retrain", "export", "retrain")]
    claimed = [await store.jobs.claim("retrain", "w", 30) for _ in range(3)]
    assert [job and job.id for job in claimed] == [jobs[0].id, jobs[2].id, None]
    assert [job.id for job in await store.jobs.recent("retrain")] == [jobs[2].id, jobs[0].id]
    assert len(await store.jobs.recent(limit=2)) == 2


async def test_each_job_goes_to_one_of_many_claimers(
    store: Store, settings: StorageSettings, clock: FakeClock
) -> None:
    added = [(await store.jobs.add("retrain", {"n": n})).id for n in range(10)]
    async with await Store.open(settings, clock=clock) as second:
        claims = await asyncio.gather(
            *(
                claimer.jobs.claim("retrain", f"worker-{number}", 60)
                for number in range(15)
                for claimer in (store, second)
            )
        )
    assert sorted(job.id for job in claims if job) == sorted(added)


async def test_a_dead_workers_job_is_taken_over_with_its_progress(store: Store, clock: FakeClock) -> None:
    await store.jobs.add("retrain", {})
    job = await store.jobs.claim("retrain", "worker-1", 30)
    assert job is not None
    await store.jobs.progress(job.id, {"step": 100}, owner="worker-1")
    clock.forward(29)
    assert await store.jobs.claim("retrain", "worker-2", 30) is None
    clock.forward(1)
    taken = await store.jobs.claim("retrain", "worker-2", 30)
    assert taken is not None
    assert (taken.id, taken.owner, taken.attempts) == (job.id, "worker-2", 2)
    assert taken.progress == {"step": 100}
    assert taken.started_at == job.started_at
    for late in (
        store.jobs.heartbeat(job.id, "worker-1", 30),
        store.jobs.progress(job.id, {}, owner="worker-1"),
        store.jobs.finish(job.id, "done", owner="worker-1"),
    ):
        with pytest.raises(LeaseLost):
            await late


async def test_a_heartbeat_keeps_the_job(store: Store, clock: FakeClock) -> None:
    await store.jobs.add("retrain", {})
    job = await store.jobs.claim("retrain", "worker-1", 30)
    assert job is not None
    for _ in range(5):
        clock.forward(20)
        renewed = await store.jobs.heartbeat(job.id, "worker-1", 30)
        assert renewed.lease_until == clock.now + timedelta(seconds=30)
        assert await store.jobs.claim("retrain", "worker-2", 30) is None


async def test_a_queued_job_can_be_cancelled_and_an_ended_one_stays(store: Store) -> None:
    job = await store.jobs.add("retrain", {})
    with pytest.raises(LeaseLost):
        await store.jobs.finish(job.id, "done")
    assert (await store.jobs.finish(job.id, "cancelled")).state == "cancelled"
    assert await store.jobs.claim("retrain", "w", 30) is None
    with pytest.raises(LeaseLost, match="cancelled"):
        await store.jobs.finish(job.id, "failed")
    with pytest.raises(ValueError, match="ends as"):
        await store.jobs.finish(job.id, "running")
    with pytest.raises(NotFound):
        await store.jobs.finish("none", "done")
    assert await store.jobs.get("none") is None
