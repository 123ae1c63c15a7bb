"""Work for other processes, handed out one worker at a time. Knows nothing of what the work is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy import ColumnElement, Row, Update, and_, or_, select

from storage.errors import LeaseLost, NotFound
from storage.ids import new_id
from storage.records import Job, JobState, Json
from storage.repositories.base import Repository
from storage.tables import jobs

_ENDED = ("done", "failed", "cancelled")


class Jobs(Repository):
    """A job is queued, then running under a lease, then done, failed or cancelled.

    A worker that dies stops renewing its lease, and the job is handed out again with its progress kept.
    """

    async def add(self, kind: str, payload: Mapping[str, Json], created_by: str | None = None) -> Job:
        """Queue a job; `created_by` is a person's id. Raises NotFound for an unknown person."""
        job = Job(
            id=new_id(),
            kind=kind,
            state="queued",
            created_by=created_by,
            payload=dict(payload),
            progress=None,
            result=None,
            owner=None,
            lease_until=None,
            attempts=0,
            created_at=self._now(),
            started_at=None,
            finished_at=None,
        )
        async with self._database.write() as connection:
            values = {column.name: getattr(job, column.name) for column in jobs.columns}
            await connection.execute(jobs.insert().values(values))
        return job

    async def claim(self, kind: str, owner: str, lease_seconds: float) -> Job | None:
        """Take the oldest job that is queued or whose lease ran out; None when there is none.

        `owner` names the worker. The job is its alone for `lease_seconds`, unless it renews with `heartbeat`.
        """
        now = self._now()
        free = or_(
            jobs.c.state == "queued",
            and_(jobs.c.state == "running", jobs.c.lease_until <= now),
        )
        query = select(jobs).where(jobs.c.kind == kind, free).order_by(jobs.c.id).limit(1)
        async with self._database.write() as connection:
            row = (await connection.execute(query.with_for_update(skip_locked=True))).first()
            if row is None:
                return None
            change = jobs.update().where(jobs.c.id == row.id)
            change = change.values(
                state="running",
                owner=owner,
                lease_until=now + timedelta(seconds=lease_seconds),
                attempts=row.attempts + 1,
                started_at=row.started_at or now,
            )
            return _job((await connection.execute(change.returning(jobs))).one())

    async def heartbeat(self, job_id: str, owner: str, lease_seconds: float) -> Job:
        """Renew the lease to `lease_seconds` from now. Raises LeaseLost when another worker has the job."""
        until = self._now() + timedelta(seconds=lease_seconds)
        return await self._change(_held(job_id, owner).values(lease_until=until), job_id)

    async def progress(self, job_id: str, progress: Mapping[str, Json], *, owner: str | None = None) -> Job:
        """Replace the job's progress. Raises NotFound, or LeaseLost when it isn't running (for `owner`)."""
        return await self._change(_held(job_id, owner).values(progress=dict(progress)), job_id)

    async def finish(
        self,
        job_id: str,
        state: JobState,
        result: Mapping[str, Json] | None = None,
        *,
        owner: str | None = None,
    ) -> Job:
        """End the job as "done", "failed" or "cancelled" (a queued one can be cancelled too).

        Raises ValueError, NotFound, or LeaseLost when it has ended already or isn't `owner`'s.
        """
        if state not in _ENDED:
            raise ValueError(f"a job ends as one of {', '.join(_ENDED)}")
        states = ("queued", "running") if state == "cancelled" and owner is None else ("running",)
        change = _held(job_id, owner, states).values(
            state=state,
            result=None if result is None else dict(result),
            lease_until=None,
            finished_at=self._now(),
        )
        return await self._change(change, job_id)

    async def get(self, job_id: str) -> Job | None:
        """Return a job, or None."""
        found = await self._select(jobs.c.id == job_id, limit=1)
        return found[0] if found else None

    async def recent(self, kind: str | None = None, limit: int = 10) -> list[Job]:
        """Return jobs of one kind (None = all), newest first."""
        conditions = [] if kind is None else [jobs.c.kind == kind]
        return await self._select(*conditions, limit=limit)

    async def _select(self, *conditions: ColumnElement[bool], limit: int) -> list[Job]:
        query = select(jobs).where(*conditions).order_by(jobs.c.id.desc()).limit(limit)
        async with self._database.read() as connection:
            return [_job(row) for row in (await connection.execute(query)).all()]

    async def _change(self, change: Update, job_id: str) -> Job:
        async with self._database.write() as connection:
            row = (await connection.execute(change.returning(jobs))).first()
            if row is not None:
                return _job(row)
            there = (await connection.execute(select(jobs.c.state).where(jobs.c.id == job_id))).first()
        if there is None:
            raise NotFound(f"no job has the id {job_id}")
        raise LeaseLost(f"job {job_id} is {there.state} and not this worker's")


def _held(job_id: str, owner: str | None, states: tuple[str, ...] = ("running",)) -> Update:
    mine = [] if owner is None else [jobs.c.owner == owner]
    return jobs.update().where(jobs.c.id == job_id, jobs.c.state.in_(states), *mine)


def _job(row: Row[tuple[object, ...]]) -> Job:
    return Job(**row._mapping)
