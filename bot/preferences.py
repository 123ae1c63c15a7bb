"""A person's kept settings: how they are stored, what they do to a request. Knows no platform and no storage.

Stored as JSON by name: level, length, genre, model, seed, preset and each decoding setting. A stored value
that no longer passes is left out, as if it had never been set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bot import values
from bot.grammar import StoryArguments
from bot.messages import Problem
from engine.schema import PRESETS, Decoding, Genre, Kind, Length, Level, StoryRequest

PLAIN = ("preset", "level", "length", "genre", "model", "seed")
NAMES = (*PLAIN, *values.DECODING)
"""All settings in the order in which they are shown; the language is kept with the person instead."""

STEPS = {
    "temperature": 0.1,
    "top_p": 0.05,
    "top_k": 10,
    "min_p": 0.01,
    "repetition_penalty": 0.05,
    "no_repeat_ngram_size": 1,
    "dry_multiplier": 0.1,
    "dry_base": 0.05,
    "dry_allowed_length": 1,
    "num_beams": 1,
    "max_new_tokens": 16,
}

Value = str | int | float


@dataclass(frozen=True, slots=True)
class Preferences:
    """What a person has set; None means the default."""

    preset: str | None = None
    level: Level | None = None
    length: Length | None = None
    genre: Genre | None = None
    model: str | None = None
    seed: int | None = None
    decoding: Decoding = field(default_factory=Decoding)

    @staticmethod
    def load(stored: Mapping[str, Any]) -> Preferences:
        """Return the preferences that `store.settings.get` gave."""
        read = {name: read_value(name, str(stored[name])) for name in NAMES if stored.get(name) is not None}
        good: dict[str, Any] = {name: value for name, value in read.items() if not isinstance(value, Problem)}
        decoding = {name: good.pop(name) for name in values.DECODING if name in good}
        return replace(Preferences(**good), decoding=Decoding.model_validate(decoding))

    def get(self, name: str) -> Value | None:
        """Return the value set for `name` (one of NAMES), None when it is not set."""
        value: Value | None = getattr(self.decoding if name in values.DECODING else self, name)
        return value

    def effective_decoding(self) -> Decoding:
        """Return the decoding settings that go into a request: own values over those of the preset."""
        return self.decoding.over(PRESETS[self.preset]) if self.preset else self.decoding

    def request(self, arguments: StoryArguments, kind: Kind, **more: Any) -> StoryRequest:
        """Return the request for these arguments; what they leave out comes from the preferences.

        Genre and length are asked of whole stories only. `more`: further fields of the request.
        """
        decoding = self.effective_decoding()
        if arguments.preset:
            decoding = PRESETS[arguments.preset].over(decoding)
        whole = kind is Kind.STORY
        return StoryRequest(
            kind=kind,
            words=list(arguments.words),
            genre=arguments.genre or (self.genre if whole else None),
            length=arguments.length or (self.length if whole else None),
            level=arguments.level or self.level,
            opening=arguments.opening,
            title=arguments.title,
            model=arguments.model or self.model,
            seed=self.seed if arguments.seed is None else arguments.seed,
            decoding=arguments.decoding.over(decoding),
            **more,
        )


def read_value(name: str, text: str) -> Value | Problem:
    """Read the value of a setting as typed; `name` is one of NAMES."""
    if name in values.DECODING:
        return values.decoding(name, text)
    readers = {
        "preset": values.preset,
        "level": values.level,
        "length": values.length,
        "genre": values.genre,
        "model": values.model,
        "seed": values.seed,
    }
    return readers[name](text)


def change(name: str, value: Value | None) -> dict[str, Value | None]:
    """Return what `store.settings.update` must be given. A preset takes the place of the values it covers."""
    changes: dict[str, Value | None] = {name: value}
    if name == "preset" and isinstance(value, str):
        covered = PRESETS[value].model_dump(exclude_none=True)
        changes |= dict.fromkeys(covered, None)
    return changes


def reset() -> dict[str, Value | None]:
    """Return the update that puts every setting back to its default."""
    return dict.fromkeys(NAMES, None)
