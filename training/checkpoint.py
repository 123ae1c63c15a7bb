"""Training state on disk: written whole or not at all, loaded without unpickling code.

Knows nothing of what the state means.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

import torch

STATE = "state.pt"


class BusyError(RuntimeError):
    """Another training run works in the folder."""


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
    """Write the state through a temporary file, flushed to disk before it takes the old one's place."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{STATE}.part"
    with part.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(folder / STATE)


def load_state(folder: Path) -> dict[str, Any] | None:
    """Return the saved state, None where there is none. Only tensors and plain values are loaded."""
    path = folder / STATE
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
