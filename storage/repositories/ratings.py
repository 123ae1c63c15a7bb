"""What people think of stories. Knows nothing of what is made of it."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Row, select

from storage.records import Rating
from storage.repositories.base import Repository, lock_person
from storage.tables import ratings


class Ratings(Repository):
    """One rating per person and story; rating again replaces it."""

    async def set(self, person_id: str, story_id: str, value: int, reasons: Iterable[str] = ()) -> Rating:
        """Keep a rating, 1 (liked) or -1, with its reasons. Raises ValueError, NotFound."""
        if value not in (-1, 1):
            raise ValueError("a rating is 1 or -1")
        key = ratings.c.person_id == person_id, ratings.c.story_id == story_id
        now = self._now()
        row = {"value": value, "reasons": list(reasons), "updated_at": now}
        async with self._database.write() as connection:
            await lock_person(connection, person_id)
            change = ratings.update().where(*key).values(row)
            if not (await connection.execute(change)).rowcount:
                await connection.execute(
                    ratings.insert().values(person_id=person_id, story_id=story_id, created_at=now, **row)
                )
            return _rating((await connection.execute(select(ratings).where(*key))).one())

    async def get(self, person_id: str, story_id: str) -> Rating | None:
        """Return a person's rating of a story, or None."""
        query = select(ratings).where(ratings.c.person_id == person_id, ratings.c.story_id == story_id)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).first()
        return None if row is None else _rating(row)

    async def remove(self, person_id: str, story_id: str) -> bool:
        """Take a rating back; False when there was none."""
        key = ratings.c.person_id == person_id, ratings.c.story_id == story_id
        async with self._database.write() as connection:
            return bool((await connection.execute(ratings.delete().where(*key))).rowcount)


def _rating(row: Row[tuple[object, ...]]) -> Rating:
    return Rating(**{**row._mapping, "reasons": tuple(row.reasons)})
