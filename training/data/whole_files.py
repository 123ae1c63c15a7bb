"""Files that are there whole or not at all, however a run ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Any, *, indent: int | None = None) -> None:
    """Write a value as JSON; a run killed in the middle leaves the file as it was, or none."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(value, indent=indent), encoding="utf-8")
    part.replace(path)
