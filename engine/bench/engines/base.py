"""What the compared engines share: the stories to write, what came of them, how an engine is asked.

Light on purpose: a child process imports this before its thread pools are set up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from engine.schema import Decoding, StoryRequest


class NotInstalled(Exception):
    """The engine's library is not there; the message says how to get it."""


@dataclass(frozen=True)
class Setup:
    """How an engine is started. `scratch` is a folder that the whole run shares."""

    model: str
    directory: Path
    device: str
    threads: int
    decoding: Decoding
    scratch: Path


@dataclass(frozen=True)
class Task:
    """One story: as a request for ours; as a prompt and a number of new tokens for the others."""

    request: StoryRequest
    prompt: tuple[int, ...] = ()
    tokens: int = 0


@dataclass(frozen=True)
class Written:
    """One story written. Seconds run from the moment at which the whole wave was asked for."""

    tokens: int
    first_s: float
    total_s: float
    candidates: int = 1
    failed: str = ""


@dataclass(frozen=True)
class Wave:
    """Stories asked for at once: those written, seconds until the last of them, memory afterwards.

    `cpu_s` are seconds of all threads of the engine's process.
    """

    written: tuple[Written, ...]
    seconds: float
    cpu_s: float
    rss_mb: float

    @property
    def tokens(self) -> int:
        """Tokens of all stories and candidates."""
        return sum(one.tokens for one in self.written)


@dataclass(frozen=True)
class About:
    """An engine that is ready: bytes of a weight and of a number in its cache; what computes."""

    weight_bytes: float
    cache_bytes: float
    backend: str = ""


Way = Callable[[Sequence[Task], float], list[Written]]
"""Writes stories asked for at once; one after another, it begins no more after so many seconds."""


class Contender(Protocol):
    """An engine with the model in memory; it has one method or more that is a `Way`."""

    about: About

    def close(self) -> None:
        """Let go of threads."""
        ...


def configured(setup: Setup) -> dict[str, Any]:
    """Return the model's `config.json`."""
    import json

    found: dict[str, Any] = json.loads((setup.directory / "config.json").read_text(encoding="utf-8"))
    return found
