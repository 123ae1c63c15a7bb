"""Word lists and their words. Knows nothing of languages: "Tom" and "tom" are two words here."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ids import new_id
from storage.records import Word, WordList
from storage.repositories.base import Repository, lock_person
from storage.tables import word_lists, words

DEFAULT_LIST = "words"


class Words(Repository):
    """Add, remove and read words; lists come into being with their first word."""

    async def add(
        self,
        person_id: str,
        new: Iterable[str],
        list_name: str = DEFAULT_LIST,
        *,
        glosses: Mapping[str, str] | None = None,
    ) -> list[Word]:
        """Add words and return those that weren't in the list, in the order given.

        A gloss for a word that is there already replaces its old one. Raises NotFound for an unknown person.
        """
        wanted = _tidy_all(new)
        notes = {_tidy(word): gloss for word, gloss in (glosses or {}).items()}
        added = []
        async with self._database.write() as connection:
            await lock_person(connection, person_id)
            list_id = await self._list_id(connection, person_id, list_name)
            if list_id is None:
                list_id = await self._new_list(connection, person_id, list_name)
            present = await self._present(connection, list_id, wanted)
            for word in wanted:
                if word not in present:
                    added.append(Word(new_id(), word, notes.get(word), self._now()))
                elif word in notes:
                    change = words.update().where(words.c.id == present[word])
                    await connection.execute(change.values(gloss=notes[word]))
            if added:
                await connection.execute(words.insert(), [self._row(list_id, word) for word in added])
        return added

    async def remove(
        self, person_id: str, unwanted: Iterable[str], list_name: str = DEFAULT_LIST
    ) -> list[str]:
        """Remove words and return those that were in the list. Raises NotFound for an unknown person."""
        removed = []
        async with self._database.write() as connection:
            await lock_person(connection, person_id)
            list_id = await self._list_id(connection, person_id, list_name)
            if list_id is None:
                return []
            for word in _tidy_all(unwanted):
                matches = words.c.list_id == list_id, self._matches(words.c.lookup, list_id, word)
                if (await connection.execute(words.delete().where(*matches))).rowcount:
                    removed.append(word)
        return removed

    async def all(self, person_id: str, list_name: str = DEFAULT_LIST) -> list[Word]:
        """Return the words of a list, oldest first; [] when there is no such list."""
        query = (
            select(words.c.id, words.c.word, words.c.gloss, words.c.created_at)
            .join(word_lists, word_lists.c.id == words.c.list_id)
            .where(word_lists.c.person_id == person_id)
            .order_by(words.c.id)
        )
        async with self._database.read() as connection:
            query = query.where(self._matches(word_lists.c.lookup, person_id, _tidy(list_name)))
            return [Word(**row) for row in (await connection.execute(query)).mappings()]

    async def lists(self, person_id: str) -> list[WordList]:
        """Return a person's lists with their sizes, oldest first."""
        columns = word_lists.c.id, word_lists.c.name, word_lists.c.created_at
        query = (
            select(*columns, func.count(words.c.id).label("size"))
            .outerjoin(words, words.c.list_id == word_lists.c.id)
            .where(word_lists.c.person_id == person_id)
            .group_by(*columns)
            .order_by(word_lists.c.id)
        )
        async with self._database.read() as connection:
            return [WordList(**row) for row in (await connection.execute(query)).mappings()]

    async def drop_list(self, person_id: str, list_name: str) -> bool:
        """Delete a list with its words; False when there is none of that name."""
        async with self._database.write() as connection:
            deletion = word_lists.delete().where(
                word_lists.c.person_id == person_id,
                self._matches(word_lists.c.lookup, person_id, _tidy(list_name)),
            )
            return bool((await connection.execute(deletion)).rowcount)

    async def _list_id(self, connection: AsyncConnection, person_id: str, name: str) -> str | None:
        query = select(word_lists.c.id).where(
            word_lists.c.person_id == person_id,
            self._matches(word_lists.c.lookup, person_id, _tidy(name)),
        )
        found: str | None = (await connection.execute(query)).scalar()
        return found

    async def _new_list(self, connection: AsyncConnection, person_id: str, name: str) -> str:
        row: dict[str, Any] = {
            "id": new_id(),
            "person_id": person_id,
            "name": _tidy(name),
            "lookup": self._fingerprint(word_lists.c.lookup, person_id, _tidy(name)),
            "created_at": self._now(),
        }
        await connection.execute(word_lists.insert().values(row))
        return str(row["id"])

    async def _present(self, connection: AsyncConnection, list_id: str, wanted: list[str]) -> dict[str, str]:
        """Return {word: id} of those of the wanted words that the list holds."""
        query = select(words.c.lookup, words.c.id).where(words.c.list_id == list_id)
        ids = {row.lookup: row.id for row in (await connection.execute(query)).all()}
        found = {}
        for word in wanted:
            for fingerprint in self._fingerprints(words.c.lookup, list_id, word):
                if fingerprint in ids:
                    found[word] = ids[fingerprint]
        return found

    def _row(self, list_id: str, word: Word) -> dict[str, Any]:
        return {
            "id": word.id,
            "list_id": list_id,
            "lookup": self._fingerprint(words.c.lookup, list_id, word.word),
            "word": word.word,
            "gloss": word.gloss,
            "created_at": word.created_at,
        }


def _tidy(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def _tidy_all(texts: Iterable[str]) -> list[str]:
    return [text for text in dict.fromkeys(map(_tidy, texts)) if text]
