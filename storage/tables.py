"""The tables. Knows nothing of engines, transactions or keys.

Whatever a person typed, and every id that a platform gave, stands in an encrypted column; what must be found
by such a value is found by a fingerprint column beside it.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    UniqueConstraint,
)

from storage.crypto import KEY_ID_BYTES
from storage.types import EncryptedJson, EncryptedText, Fingerprint, Moment

ID = String(26)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

encryption_keys = Table(
    "encryption_keys",
    metadata,
    Column("id", LargeBinary(KEY_ID_BYTES), primary_key=True),
    Column("current", Boolean, nullable=False),
    Column("created_at", Moment, nullable=False),
)

people = Table(
    "people",
    metadata,
    Column("id", ID, primary_key=True),
    Column("locale", String(35)),
    Column("created_at", Moment, nullable=False),
)

identities = Table(
    "identities",
    metadata,
    Column("id", ID, primary_key=True),
    Column("person_id", ID, ForeignKey("people.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("platform", String(32), nullable=False),
    Column("lookup", Fingerprint("identities.lookup", ("platform", "external_id")), nullable=False),
    Column("external_id", EncryptedText("identities.external_id"), nullable=False),
    Column("created_at", Moment, nullable=False),
    UniqueConstraint("platform", "lookup"),
)

settings = Table(
    "settings",
    metadata,
    Column("person_id", ID, ForeignKey("people.id", ondelete="CASCADE"), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("value", EncryptedJson("settings.value"), nullable=False),
    Column("updated_at", Moment, nullable=False),
)

word_lists = Table(
    "word_lists",
    metadata,
    Column("id", ID, primary_key=True),
    Column("person_id", ID, ForeignKey("people.id", ondelete="CASCADE"), nullable=False),
    Column("lookup", Fingerprint("word_lists.lookup", ("person_id", "name")), nullable=False),
    Column("name", EncryptedText("word_lists.name"), nullable=False),
    Column("created_at", Moment, nullable=False),
    UniqueConstraint("person_id", "lookup"),
)

words = Table(
    "words",
    metadata,
    Column("id", ID, primary_key=True),
    Column("list_id", ID, ForeignKey("word_lists.id", ondelete="CASCADE"), nullable=False),
    Column("lookup", Fingerprint("words.lookup", ("list_id", "word")), nullable=False),
    Column("word", EncryptedText("words.word"), nullable=False),
    Column("gloss", EncryptedText("words.gloss")),
    Column("created_at", Moment, nullable=False),
    UniqueConstraint("list_id", "lookup"),
)

stories = Table(
    "stories",
    metadata,
    Column("id", ID, primary_key=True),
    Column("person_id", ID, ForeignKey("people.id", ondelete="CASCADE"), nullable=False),
    Column("chat_lookup", Fingerprint("stories.chat_lookup", ("chat",)), nullable=False),
    Column("chat", EncryptedText("stories.chat"), nullable=False),
    Column("turn_lookup", Fingerprint("stories.turn_lookup", ("turn",)), nullable=False),
    Column("turn", EncryptedText("stories.turn"), nullable=False),
    Column("state", String(16), nullable=False),
    Column("request", EncryptedJson("stories.request"), nullable=False),
    Column("title", EncryptedText("stories.title")),
    Column("text", EncryptedText("stories.text")),
    Column("result", EncryptedJson("stories.result")),
    Column("error", String(64)),
    Column("version_of", ID, ForeignKey("stories.id", ondelete="SET NULL"), index=True),
    Column("parent_id", ID, ForeignKey("stories.id", ondelete="SET NULL"), index=True),
    Column("created_at", Moment, nullable=False),
    Column("finished_at", Moment),
    UniqueConstraint("person_id", "turn_lookup"),
    CheckConstraint("state IN ('pending', 'done', 'failed')", name="state"),
    Index(None, "person_id", "state", "finished_at", "id"),
    Index(None, "state", "id"),
)

ratings = Table(
    "ratings",
    metadata,
    Column("person_id", ID, ForeignKey("people.id", ondelete="CASCADE"), primary_key=True),
    Column("story_id", ID, ForeignKey("stories.id", ondelete="CASCADE"), primary_key=True, index=True),
    Column("value", SmallInteger, nullable=False),
    Column("reasons", EncryptedJson("ratings.reasons"), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    CheckConstraint("value IN (-1, 1)", name="value"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", ID, primary_key=True),
    Column("kind", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_by", ID, ForeignKey("people.id", ondelete="CASCADE"), index=True),
    Column("payload", EncryptedJson("jobs.payload"), nullable=False),
    Column("progress", EncryptedJson("jobs.progress")),
    Column("result", EncryptedJson("jobs.result")),
    Column("owner", String(128)),
    Column("lease_until", Moment),
    Column("attempts", Integer, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("started_at", Moment),
    Column("finished_at", Moment),
    CheckConstraint("state IN ('queued', 'running', 'done', 'failed', 'cancelled')", name="state"),
    Index(None, "kind", "state", "id"),
)

events = Table(
    "events",
    metadata,
    Column("id", ID, primary_key=True),
    Column("kind", String(64), nullable=False),
    Column("person_id", ID, ForeignKey("people.id", ondelete="CASCADE"), index=True),
    Column("data", EncryptedJson("events.data"), nullable=False),
    Column("created_at", Moment, nullable=False),
    Index(None, "kind", "id"),
)
