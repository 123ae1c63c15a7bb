"""People and who they are on each platform. Knows nothing of what they write."""

from __future__ import annotations

import logging
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.errors import NotFound
from storage.ids import new_id
from storage.records import Identity, Json, Person
from storage.repositories.base import Repository
from storage.repositories.personal import delete_person, export_person
from storage.tables import identities, people
from storage.translation import Duplicate

log = logging.getLogger("wordtale.storage")


class People(Repository):
    """Get or make people; hand over or forget all that is known of one."""

    async def resolve(self, platform: str, external_id: str, *, locale: str | None = None) -> Person:
        """Return the person with this id on this platform, making them at the first meeting.

        `locale` is kept for a person who is made now. Raises StorageError.
        """
        async with self._database.read() as connection:
            person = await self._find(connection, platform, external_id)
        while person is None:
            try:
                async with self._database.write() as connection:
                    person = await self._find(connection, platform, external_id)
                    person = person or await self._add(connection, platform, external_id, locale)
            except Duplicate:
                # On a server somebody else made the same person just now: look again.
                person = None
        return person

    async def get(self, person_id: str) -> Person | None:
        """Return a person, or None."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(people).where(people.c.id == person_id))).first()
        return None if row is None else Person(**row._mapping)

    async def set_locale(self, person_id: str, locale: str | None) -> Person:
        """Keep the language a person wants to be answered in. Raises NotFound."""
        change = update(people).where(people.c.id == person_id).values(locale=locale).returning(people)
        async with self._database.write() as connection:
            row = (await connection.execute(change)).first()
        if row is None:
            raise NotFound(f"no person has the id {person_id}")
        return Person(**row._mapping)

    async def identities(self, person_id: str) -> list[Identity]:
        """Return (platform, external id) of a person, oldest first; [] for an unknown one."""
        query = select(identities).where(identities.c.person_id == person_id).order_by(identities.c.id)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        return [Identity(row.platform, row.external_id) for row in rows]

    async def export(self, person_id: str) -> dict[str, Json]:
        """Return every row about a person as JSON-able values, decrypted, by table. Raises NotFound."""
        async with self._database.read() as connection:
            return await export_person(connection, person_id)

    async def forget(self, person_id: str) -> int:
        """Delete every row about a person and return how many went (0 for an unknown one).

        SQLite: the freed space is overwritten and the log emptied, so nothing of it stays in the files;
        only copies made by a migration or by `wordtale db backup` still hold it.
        """
        async with self._database.write() as connection:
            count = await delete_person(connection, person_id)
        if not await self._database.empty_log():
            log.warning(
                "a reader kept the log from being emptied after a deletion; closing the store does it"
            )
        return count

    async def _find(self, connection: AsyncConnection, platform: str, external_id: str) -> Person | None:
        query = (
            select(people)
            .join(identities, identities.c.person_id == people.c.id)
            .where(
                identities.c.platform == platform,
                self._matches(identities.c.lookup, platform, external_id),
            )
        )
        row = (await connection.execute(query)).first()
        return None if row is None else Person(**row._mapping)

    async def _add(
        self, connection: AsyncConnection, platform: str, external_id: str, locale: str | None
    ) -> Person:
        person = Person(new_id(), locale, self._now())
        values: dict[str, Any] = {"id": person.id, "locale": locale, "created_at": person.created_at}
        await connection.execute(people.insert().values(values))
        await connection.execute(
            identities.insert().values(
                id=new_id(),
                person_id=person.id,
                platform=platform,
                lookup=self._fingerprint(identities.c.lookup, platform, external_id),
                external_id=external_id,
                created_at=person.created_at,
            )
        )
        return person
