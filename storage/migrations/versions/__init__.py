"""Alembic revisions, applied in the order of their `down_revision`."""
