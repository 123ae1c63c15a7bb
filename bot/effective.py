"""`wordtale config`: the effective settings of every room, secrets masked.

Rooms are found through entry points (group wordtale.settings). Knows pydantic-settings, and no room.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsError

from bot.complaints import complaints

GROUP = "wordtale.settings"
MASK = "********"
_PASSWORD = re.compile(r"(://[^:/@\s]*:)[^@\s]+(?=@)")


@dataclass(frozen=True, slots=True)
class Row:
    """One setting: where it is set, what it is now, and what it does."""

    variable: str
    value: str
    is_set: bool
    description: str


@dataclass(frozen=True, slots=True)
class Room:
    """A room's settings, or why they can't be read."""

    name: str
    rows: tuple[Row, ...] = ()
    trouble: str | None = None


def rooms() -> list[Room]:
    """Return the settings of every room in alphabetical order. One with faulty settings says so."""
    found = sorted(entry_points(group=GROUP), key=lambda entry: entry.name)
    return [room(entry.name, entry.load) for entry in found]


def room(name: str, load: Any) -> Room:
    """Return the settings of the class that `load()` gives."""
    try:
        settings = load()()
    except ImportError as error:
        return Room(name, trouble=f"not installed: {error}")
    except SettingsError as error:
        return Room(name, trouble=str(error))
    except ValidationError as error:
        return Room(name, trouble="; ".join(complaints(error)))
    return Room(name, tuple(_rows(settings)))


def _rows(settings: BaseSettings) -> list[Row]:
    prefix = settings.model_config.get("env_prefix", "")
    shown = settings.model_dump(mode="json")
    rows = []
    for name, info in type(settings).model_fields.items():
        value = getattr(settings, name)
        text = MASK if isinstance(value, SecretStr) else _text(shown[name])
        is_set = name in settings.model_fields_set
        rows.append(Row(f"{prefix}{name}".upper(), text, is_set, info.description or ""))
    return rows


def _text(value: Any) -> str:
    if value is None:
        return ""
    return _PASSWORD.sub(lambda found: found[1] + MASK, str(value))
