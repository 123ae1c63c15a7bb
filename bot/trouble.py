"""Turns failures of engine and storage into sentences. Knows the error trees; knows no platform."""

from __future__ import annotations

import math

from bot.messages import Problem, problem
from engine.client import EngineError
from storage import (
    KeyMissing,
    SchemaMismatch,
    StorageBusy,
    StorageCorrupt,
    StorageError,
    StorageFull,
    StorageReadOnly,
)

_STORAGE: dict[type[StorageError], str] = {
    StorageBusy: "storage-busy",
    StorageFull: "storage-full",
    StorageReadOnly: "storage-read-only",
    StorageCorrupt: "storage-corrupt",
    KeyMissing: "storage-key-missing",
    SchemaMismatch: "storage-version",
}


def engine_problem(error: EngineError) -> Problem:
    """Return the sentence for an engine's error code."""
    id_ = "engine-" + error.code.value.replace("_", "-")
    seconds = math.ceil(error.retry_after) if error.retry_after else 0
    return problem(id_, detail=error.message, seconds=seconds)


def storage_problem(error: StorageError) -> Problem:
    """Return the apology for a failure of the store."""
    return problem(_STORAGE.get(type(error), "storage-trouble"))
