"""Stories from the moment they are asked for. Knows nothing of models or chats beyond their names."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import ColumnElement, Row, Select, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.errors import NotFound
from storage.ids import new_id
from storage.records import Json, Story
from storage.repositories.base import Repository, lock_person
from storage.tables import stories
from storage.types import Fingerprint

_columns = [column for column in stories.columns if not isinstance(column.type, Fingerprint)]
_newest_first = stories.c.finished_at.desc(), stories.c.id.desc()


class Stories(Repository):
    """A story is pending, then done or failed; a done one never changes."""

    async def begin(
        self,
        person_id: str,
        chat: str,
        request: Mapping[str, Json],
        *,
        turn: str,
        version_of: str | None = None,
        parent_id: str | None = None,
    ) -> Story:
        """Keep that a story was asked for and return it, "pending".

        `turn` names what asked for it (an update, a line typed): asked again with the same turn, the same
        person gets the story of the first time, whatever has become of it. `version_of` is the story that
        this one tells anew, `parent_id` the one it continues. Raises NotFound when an id is unknown.
        """
        async with self._database.write() as connection:
            await lock_person(connection, person_id)
            same_turn = stories.c.person_id == person_id, self._matches(stories.c.turn_lookup, turn)
            row = (await connection.execute(_select(*same_turn))).first()
            if row is not None:
                return _story(row)
            if parent_id is not None:
                await _get(connection, parent_id)
            story = Story(
                id=new_id(),
                person_id=person_id,
                chat=chat,
                turn=turn,
                state="pending",
                request=dict(request),
                title=None,
                text=None,
                result=None,
                error=None,
                version_of=None if version_of is None else await _first_version(connection, version_of),
                parent_id=parent_id,
                created_at=self._now(),
                finished_at=None,
            )
            values = {column.name: getattr(story, column.name) for column in _columns}
            await connection.execute(
                stories.insert().values(
                    chat_lookup=self._fingerprint(stories.c.chat_lookup, chat),
                    turn_lookup=self._fingerprint(stories.c.turn_lookup, turn),
                    **values,
                )
            )
            return story

    async def finish(self, story_id: str, *, title: str, text: str, result: Mapping[str, Json]) -> Story:
        """Keep the story's text and its result (the engine's whole answer) and return it, "done".

        A story that is done stays as it is. Raises NotFound.
        """
        async with self._database.write() as connection:
            return await _end(
                connection,
                story_id,
                state="done",
                title=title,
                text=text,
                result=dict(result),
                error=None,
                finished_at=self._now(),
            )

    async def fail(self, story_id: str, code: str) -> Story:
        """Keep why no story came and return it, "failed"; a done one stays as it is. Raises NotFound."""
        async with self._database.write() as connection:
            return await _end(connection, story_id, state="failed", error=code, finished_at=self._now())

    async def get(self, story_id: str) -> Story | None:
        """Return a story, or None."""
        async with self._database.read() as connection:
            row = (await connection.execute(_select(stories.c.id == story_id))).first()
        return None if row is None else _story(row)

    async def latest(self, person_id: str, chat: str) -> Story | None:
        """Return the story that was told last to a person in a chat, or None."""
        query = _select(stories.c.person_id == person_id, stories.c.state == "done")
        async with self._database.read() as connection:
            query = query.where(self._matches(stories.c.chat_lookup, chat))
            row = (await connection.execute(query.order_by(*_newest_first).limit(1))).first()
        return None if row is None else _story(row)

    async def recent(self, person_id: str, limit: int = 10, before: str | None = None) -> list[Story]:
        """Return a person's told stories, the last told first.

        `before` is the id of the last story of the page before. Raises NotFound when there is no such story.
        """
        query = _select(stories.c.person_id == person_id, stories.c.state == "done")
        async with self._database.read() as connection:
            if before is not None:
                mark = _story(await _get(connection, before))
                query = query.where(
                    tuple_(stories.c.finished_at, stories.c.id) < tuple_(mark.finished_at, mark.id)
                )
            rows = (await connection.execute(query.order_by(*_newest_first).limit(limit))).all()
        return [_story(row) for row in rows]

    async def versions(self, story_id: str) -> list[Story]:
        """Return every told version of a story, the first one first. Raises NotFound."""
        async with self._database.read() as connection:
            first = await _first_version(connection, story_id)
            query = _select(
                or_(stories.c.id == first, stories.c.version_of == first), stories.c.state == "done"
            )
            rows = (await connection.execute(query.order_by(stories.c.id))).all()
        return [_story(row) for row in rows]

    async def pending(self, chat_prefix: str | None = None) -> list[Story]:
        """Return the stories that were asked for and neither told nor failed, oldest first.

        `chat_prefix` keeps those whose chat begins so ("telegram:"): each front end resumes its own.
        """
        query = _select(stories.c.state == "pending").order_by(stories.c.id)
        async with self._database.read() as connection:
            waiting = [_story(row) for row in (await connection.execute(query)).all()]
        return [story for story in waiting if story.chat.startswith(chat_prefix or "")]


def _select(*conditions: ColumnElement[bool]) -> Select[tuple[object, ...]]:
    return select(*_columns).where(*conditions)


def _story(row: Row[tuple[object, ...]]) -> Story:
    return Story(**row._mapping)


async def _get(connection: AsyncConnection, story_id: str) -> Row[tuple[object, ...]]:
    row = (await connection.execute(_select(stories.c.id == story_id))).first()
    if row is None:
        raise NotFound(f"no story has the id {story_id}")
    return row


async def _first_version(connection: AsyncConnection, story_id: str) -> str:
    story = _story(await _get(connection, story_id))
    return story.version_of or story.id


async def _end(connection: AsyncConnection, story_id: str, **values: Json) -> Story:
    change = stories.update().where(stories.c.id == story_id, stories.c.state != "done").values(values)
    await connection.execute(change)
    return _story(await _get(connection, story_id))
