"""Things that happened, kept in order. Knows nothing of what they mean."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import select

from storage.ids import new_id
from storage.records import Event, Json
from storage.repositories.base import Repository
from storage.tables import events


class Events(Repository):
    """Append and read back."""

    async def add(self, kind: str, person_id: str | None, data: Mapping[str, Json]) -> Event:
        """Keep an event, of a person or of nobody. Raises NotFound for an unknown person."""
        event = Event(new_id(), kind, person_id, dict(data), self._now())
        async with self._database.write() as connection:
            values = {column.name: getattr(event, column.name) for column in events.columns}
            await connection.execute(events.insert().values(values))
        return event

    async def recent(self, kind: str, limit: int = 100) -> list[Event]:
        """Return events of one kind, newest first."""
        query = select(events).where(events.c.kind == kind).order_by(events.c.id.desc()).limit(limit)
        async with self._database.read() as connection:
            return [Event(**row) for row in (await connection.execute(query)).mappings()]
