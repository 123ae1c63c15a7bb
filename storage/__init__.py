"""What is kept between runs: people, settings, words, stories, ratings, jobs, events.

Knows nothing of platforms, models or languages. Names are loaded when first asked for, so that reading the
settings alone stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from storage.config import StorageSettings
    from storage.errors import (
        KeyMissing,
        LeaseLost,
        NotFound,
        SchemaMismatch,
        StorageBusy,
        StorageCorrupt,
        StorageError,
        StorageFull,
        StorageReadOnly,
        StorageUnavailable,
    )
    from storage.records import (
        Event,
        Identity,
        Job,
        JobState,
        Json,
        Person,
        Rating,
        Story,
        StoryState,
        Word,
        WordList,
    )
    from storage.store import Store

_HOMES = {
    "storage.config": ("StorageSettings",),
    "storage.errors": (
        "KeyMissing",
        "LeaseLost",
        "NotFound",
        "SchemaMismatch",
        "StorageBusy",
        "StorageCorrupt",
        "StorageError",
        "StorageFull",
        "StorageReadOnly",
        "StorageUnavailable",
    ),
    "storage.records": (
        "Event",
        "Identity",
        "Job",
        "JobState",
        "Json",
        "Person",
        "Rating",
        "Story",
        "StoryState",
        "Word",
        "WordList",
    ),
    "storage.store": ("Store",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Event",
    "Identity",
    "Job",
    "JobState",
    "Json",
    "KeyMissing",
    "LeaseLost",
    "NotFound",
    "Person",
    "Rating",
    "SchemaMismatch",
    "StorageBusy",
    "StorageCorrupt",
    "StorageError",
    "StorageFull",
    "StorageReadOnly",
    "StorageSettings",
    "StorageUnavailable",
    "Store",
    "Story",
    "StoryState",
    "Word",
    "WordList",
]


def __getattr__(name: str) -> Any:
    """Load a public name from the module where it lives."""
    if name not in _HOME:
        raise AttributeError(f"module 'storage' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value
