"""Which rows belong to a person: to hand them over, and to delete them. Knows nothing of their meaning."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Table, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.errors import NotFound
from storage.records import Json
from storage.tables import (
    events,
    identities,
    jobs,
    people,
    ratings,
    settings,
    stories,
    word_lists,
    words,
)
from storage.types import Fingerprint

BELONGS: dict[Table, Callable[[str], ColumnElement[bool]]] = {
    people: lambda person: people.c.id == person,
    identities: lambda person: identities.c.person_id == person,
    settings: lambda person: settings.c.person_id == person,
    word_lists: lambda person: word_lists.c.person_id == person,
    words: lambda person: words.c.list_id.in_(
        select(word_lists.c.id).where(word_lists.c.person_id == person)
    ),
    stories: lambda person: stories.c.person_id == person,
    ratings: lambda person: ratings.c.person_id == person,
    jobs: lambda person: jobs.c.created_by == person,
    events: lambda person: events.c.person_id == person,
}
"""Every table with personal rows, referred-to tables first, and the condition for one person's rows."""


async def export_person(connection: AsyncConnection, person_id: str) -> dict[str, list[dict[str, Json]]]:
    """Return {table: rows}, values decrypted and JSON-able; fingerprints are left out. Raises NotFound."""
    found: dict[str, list[dict[str, Json]]] = {}
    for table, belongs in BELONGS.items():
        columns = [column for column in table.columns if not isinstance(column.type, Fingerprint)]
        query = select(*columns).where(belongs(person_id)).order_by(*table.primary_key.columns)
        rows = (await connection.execute(query)).mappings().all()
        found[table.name] = [{name: _plain(value) for name, value in row.items()} for row in rows]
    if not found[people.name]:
        raise NotFound(f"no person has the id {person_id}")
    return found


async def delete_person(connection: AsyncConnection, person_id: str) -> int:
    """Delete the rows and return how many they were; others' ratings of the stories go with them."""
    count = 0
    for table, belongs in reversed(BELONGS.items()):
        count += (await connection.execute(delete(table).where(belongs(person_id)))).rowcount
    return count


def _plain(value: Any) -> Json:
    return value.isoformat() if isinstance(value, datetime) else value
