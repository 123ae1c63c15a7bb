"""The schema's history, one revision a file. Knows nothing of who applies it or when."""

HEAD = "0001"
"""The revision that this version of the code works with; equal to Alembic's head."""
