"""What the store hands back: frozen records, never database rows. Knows nothing of SQL."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypeAlias

Json: TypeAlias = Any
StoryState: TypeAlias = Literal["pending", "done", "failed"]
JobState: TypeAlias = Literal["queued", "running", "done", "failed", "cancelled"]


class Identity(NamedTuple):
    """Who a person is on one platform."""

    platform: str
    external_id: str


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who uses Wordtale; the id says nothing about who it is."""

    id: str
    locale: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class WordList:
    """One of a person's word lists; `size` counts its words."""

    id: str
    name: str
    size: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Word:
    """A word that a person keeps, with their own gloss."""

    id: str
    word: str
    gloss: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Story:
    """One story asked for; title, text and result are there once `state` is "done", `error` once "failed"."""

    id: str
    person_id: str
    chat: str
    turn: str
    state: StoryState
    request: dict[str, Json]
    title: str | None
    text: str | None
    result: dict[str, Json] | None
    error: str | None
    version_of: str | None
    parent_id: str | None
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Rating:
    """What a person thinks of a story: 1 or -1, and why."""

    person_id: str
    story_id: str
    value: int
    reasons: tuple[str, ...]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Job:
    """Work for a process of its own. `lease_until` is when another worker may take it over."""

    id: str
    kind: str
    state: JobState
    created_by: str | None
    payload: dict[str, Json]
    progress: dict[str, Json] | None
    result: dict[str, Json] | None
    owner: str | None
    lease_until: datetime | None
    attempts: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, for counting and for the audit."""

    id: str
    kind: str
    person_id: str | None
    data: dict[str, Json]
    created_at: datetime
