"""Messages as values: an id of the locale files and its parameters. Knows no language and no platform."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Param = str | int | float

ECHO_CHARS = 40


@dataclass(frozen=True, slots=True)
class Message:
    """Something to say: `id` stands in every bot/locales/*.ftl, `params` fill its variables."""

    id: str
    params: Mapping[str, Param] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Problem(Message):
    """Why a command can't be done, and what would be right."""


def problem(id_: str, **params: Param) -> Problem:
    """Return a Problem with these parameters."""
    return Problem(id_, params)


def echo(text: str, limit: int = ECHO_CHARS) -> str:
    """Return what a person typed, short enough (in characters) to be quoted in a sentence."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
