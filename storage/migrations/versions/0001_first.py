"""The first schema: keys, people, settings, words, stories, ratings, jobs, events."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.String(26)
_MOMENT = sa.DateTime(timezone=True)
_FINGERPRINT = sa.LargeBinary(32)


def _required(name: str, kind: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)


def _optional(name: str, kind: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=True)


def _refers(table: str, column: str, target: str, on_delete: str = "CASCADE") -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column], [f"{target}.id"], name=f"fk_{table}_{column}", ondelete=on_delete
    )


def _index(table: str, *columns: str) -> None:
    op.create_index(f"ix_{table}_{'_'.join(columns)}", table, list(columns))


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "encryption_keys",
        _required("id", sa.LargeBinary(8)),
        _required("current", sa.Boolean()),
        _required("created_at", _MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_encryption_keys"),
    )
    _make_people()
    _make_words()
    _make_stories()
    _make_jobs_and_events()


def _make_people() -> None:
    op.create_table(
        "people",
        _required("id", _ID),
        _optional("locale", sa.String(35)),
        _required("created_at", _MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_people"),
    )
    op.create_table(
        "identities",
        _required("id", _ID),
        _required("person_id", _ID),
        _required("platform", sa.String(32)),
        _required("lookup", _FINGERPRINT),
        _required("external_id", sa.LargeBinary()),
        _required("created_at", _MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_identities"),
        sa.UniqueConstraint("platform", "lookup", name="uq_identities_platform_lookup"),
        _refers("identities", "person_id", "people"),
    )
    _index("identities", "person_id")
    op.create_table(
        "settings",
        _required("person_id", _ID),
        _required("name", sa.String(64)),
        _required("value", sa.LargeBinary()),
        _required("updated_at", _MOMENT),
        sa.PrimaryKeyConstraint("person_id", "name", name="pk_settings"),
        _refers("settings", "person_id", "people"),
    )


def _make_words() -> None:
    op.create_table(
        "word_lists",
        _required("id", _ID),
        _required("person_id", _ID),
        _required("lookup", _FINGERPRINT),
        _required("name", sa.LargeBinary()),
        _required("created_at", _MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_word_lists"),
        sa.UniqueConstraint("person_id", "lookup", name="uq_word_lists_person_id_lookup"),
        _refers("word_lists", "person_id", "people"),
    )
    op.create_table(
        "words",
        _required("id", _ID),
        _required("list_id", _ID),
        _required("lookup", _FINGERPRINT),
        _required("word", sa.LargeBinary()),
        _optional("gloss", sa.LargeBinary()),
        _required("created_at", _MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_words"),
        sa.UniqueConstraint("list_id", "lookup", name="uq_words_list_id_lookup"),
        _refers("words", "list_id", "word_lists"),
    )


def _make_stories() -> None:
    op.create_table(
        "stories",
        _required("id", _ID),
        _required("person_id", _ID),
        _required("chat_lookup", _FINGERPRINT),
        _required("chat", sa.LargeBinary()),
        _required("turn_lookup", _FINGERPRINT),
        _required("turn", sa.LargeBinary()),
        _required("state", sa.String(16)),
        _required("request", sa.LargeBinary()),
        _optional("title", sa.LargeBinary()),
        _optional("text", sa.LargeBinary()),
        _optional("result", sa.LargeBinary()),
        _optional("error", sa.String(64)),
        _optional("version_of", _ID),
        _optional("parent_id", _ID),
        _required("created_at", _MOMENT),
        _optional("finished_at", _MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_stories"),
        sa.UniqueConstraint("person_id", "turn_lookup", name="uq_stories_person_id_turn_lookup"),
        sa.CheckConstraint("state IN ('pending', 'done', 'failed')", name="ck_stories_state"),
        _refers("stories", "person_id", "people"),
        _refers("stories", "version_of", "stories", "SET NULL"),
        _refers("stories", "parent_id", "stories", "SET NULL"),
    )
    _index("stories", "person_id", "state", "finished_at", "id")
    _index("stories", "state", "id")
    _index("stories", "version_of")
    _index("stories", "parent_id")
    op.create_table(
        "ratings",
        _required("person_id", _ID),
        _required("story_id", _ID),
        _required("value", sa.SmallInteger()),
        _required("reasons", sa.LargeBinary()),
        _required("created_at", _MOMENT),
        _required("updated_at", _MOMENT),
        sa.PrimaryKeyConstraint("person_id", "story_id", name="pk_ratings"),
        sa.CheckConstraint("value IN (-1, 1)", name="ck_ratings_value"),
        _refers("ratings", "person_id", "people"),
        _refers("ratings", "story_id", "stories"),
    )
    _index("ratings", "story_id")


def _make_jobs_and_events() -> None:
    op.create_table(
        "jobs",
        _required("id", _ID),
        _required("kind", sa.String(64)),
        _required("state", sa.String(16)),
        _optional("created_by", _ID),
        _required("payload", sa.LargeBinary()),
        _optional("progress", sa.LargeBinary()),
        _optional("result", sa.LargeBinary()),
        _optional("owner", sa.String(128)),
        _optional("lease_until", _MOMENT),
        _required("attempts", sa.Integer()),
        _required("created_at", _MOMENT),
        _optional("started_at", _MOMENT),
        _optional("finished_at", _MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'done', 'failed', 'cancelled')", name="ck_jobs_state"
        ),
        _refers("jobs", "created_by", "people"),
    )
    _index("jobs", "created_by")
    _index("jobs", "kind", "state", "id")
    op.create_table(
        "events",
        _required("id", _ID),
        _required("kind", sa.String(64)),
        _optional("person_id", _ID),
        _required("data", sa.LargeBinary()),
        _required("created_at", _MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        _refers("events", "person_id", "people"),
    )
    _index("events", "person_id")
    _index("events", "kind", "id")


def downgrade() -> None:
    """Remove every table, with all that is in it."""
    for table in (
        "events",
        "jobs",
        "ratings",
        "stories",
        "words",
        "word_lists",
        "settings",
        "identities",
        "people",
        "encryption_keys",
    ):
        op.drop_table(table)
