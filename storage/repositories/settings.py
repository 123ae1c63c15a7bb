"""A person's settings: named JSON values. Knows nothing of what they mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.records import Json
from storage.repositories.base import Repository, lock_person
from storage.tables import settings


class Settings(Repository):
    """Read and change settings; a change is atomic, whoever else writes."""

    async def get(self, person_id: str) -> dict[str, Json]:
        """Return all settings of a person, {} when none are set."""
        async with self._database.read() as connection:
            return await _read(connection, person_id)

    async def update(self, person_id: str, changes: Mapping[str, Json | None]) -> dict[str, Json]:
        """Set some values (None removes one), leave the others, and return all. Raises NotFound."""
        return await self.change(person_id, lambda _: changes)

    async def change(
        self, person_id: str, decide: Callable[[dict[str, Json]], Mapping[str, Json | None]]
    ) -> dict[str, Json]:
        """As `update`, with the changes that `decide` makes of the present values. Nobody writes in between.

        What `decide` raises goes through, and nothing is changed. Raises NotFound.
        """
        async with self._database.write() as connection:
            await lock_person(connection, person_id)
            values = await _read(connection, person_id)
            for name, value in decide(dict(values)).items():
                known = name in values
                if value is None:
                    values.pop(name, None)
                    await connection.execute(delete(settings).where(*_key(person_id, name)))
                    continue
                values[name] = value
                row = {"value": value, "updated_at": self._now()}
                if known:
                    await connection.execute(settings.update().where(*_key(person_id, name)).values(row))
                else:
                    await connection.execute(settings.insert().values(person_id=person_id, name=name, **row))
            return values


def _key(person_id: str, name: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return settings.c.person_id == person_id, settings.c.name == name


async def _read(connection: AsyncConnection, person_id: str) -> dict[str, Json]:
    query = select(settings.c.name, settings.c.value).where(settings.c.person_id == person_id)
    rows = (await connection.execute(query.order_by(settings.c.name))).all()
    return {row.name: row.value for row in rows}
