"""Training state on disk: written whole or not at all, loaded without unpickling code.

Knows nothing of what the state means.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path
from typing import Any

import torch

STATE = "state.pt"


class BusyError(RuntimeError):
    """Another training run works in the folder."""


class SaveError(OSError):
    """The state could not be written; the one before stands."""


def lock_folder(folder: Path) -> int:
    """Take the folder for this process until it ends or closes the descriptor returned.

    Raises BusyError when another run has it; a killed run's lock is gone with it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise BusyError(f"another training run works in {folder}") from None
    return descriptor


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write the state through a temporary file, flushed to disk before it takes the old one's place.

    Raises SaveError when it can't be written, with the old state untouched and no part left behind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{STATE}.part"
    try:
        with part.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(folder / STATE)
    # torch reports a failed write of its zip file as RuntimeError.
    except (OSError, RuntimeError) as error:
        part.unlink(missing_ok=True)
        reason = error.strerror if isinstance(error, OSError) else None
        raise SaveError(f"{folder / STATE} can't be written: {reason or _lines(error)}") from error


def load_state(folder: Path) -> dict[str, Any] | None:
    """Return the saved state, None where there is none. Only tensors and plain values are loaded."""
    path = folder / STATE
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def lack_of_room(folder: Path, size: int) -> str | None:
    """Return a sentence when the disk has less room than two checkpoints of `size` bytes, else None."""
    free = shutil.disk_usage(folder).free
    if free >= 2 * size:
        return None
    return f"{folder} has {free / 1e6:,.0f} MB of disk left; two checkpoints take {2 * size / 1e6:,.0f} MB"


def _lines(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
