"""The one table of commands: menus, typed options, /help and docs/commands.md are all derived from it.

Each command NAME has the messages NAME-summary (one line), NAME-usage and NAME-details in the locale files,
each argument NAME the message arg-NAME. Knows no platform.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from rapidfuzz import process

from bot import values
from bot.commands import guide, history, settings, story
from bot.context import Caller, Context
from bot.grammar import parse_again, parse_continue, parse_joke, parse_sentence, parse_story
from bot.preferences import NAMES as SETTINGS
from bot.replies import Reply
from engine.schema import (
    MAX_OPENING_CHARS,
    MAX_SEED,
    MAX_TITLE_CHARS,
    PRESETS,
    Genre,
    Length,
    Level,
    decoding_ranges,
)

SUMMARY_CHARS = 100
"""Longest summary that every platform's menu shows whole."""


class Access(Enum):
    """Who may call a command."""

    EVERYONE = "everyone"
    GROUP_ADMINS = "group admins"
    OWNERS = "owners"


class ArgumentKind(Enum):
    """How a platform with typed options should ask for an argument."""

    WORDS = "words"
    TEXT = "text"
    CHOICE = "choice"
    WHOLE = "whole number"
    NUMBER = "number"
    MODEL = "model"
    SETTING = "setting"
    COMMAND = "command"


@dataclass(frozen=True, slots=True)
class Argument:
    """One typed option: its name is the key under which the command's parser takes it.

    `lowest` and `highest` bound numbers; `longest` is a text's limit in characters.
    """

    name: str
    kind: ArgumentKind
    choices: tuple[str, ...] = ()
    lowest: float | None = None
    highest: float | None = None
    longest: int | None = None
    required: bool = False

    @property
    def help_id(self) -> str:
        """The message that explains this argument in one line."""
        prefix = "setting-" if self.name in SETTINGS and self.name != "genre" else "arg-"
        return prefix + self.name.replace("_", "-")


Parser = Callable[[str, Mapping[str, str] | None], Any]
Run = Callable[[Context, Any], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Command:
    """One row. `parse(text, options)` gives arguments for `run`, or a Problem. `cooldown` is in seconds."""

    name: str
    run: Run
    parse: Parser
    arguments: tuple[Argument, ...] = ()
    access: Access = Access.EVERYONE
    cooldown: float = 0.0

    def allows(self, caller: Caller, owners: frozenset[str] = frozenset()) -> bool:
        """Say whether the caller may use this; `owners` are identities such as `telegram:12345`."""
        owner = caller.identity in owners
        if self.access is Access.OWNERS:
            return owner
        return self.access is Access.EVERYONE or owner or (caller.is_group and caller.is_admin)


class Catalog:
    """The commands in the order in which menus show them."""

    def __init__(self, commands: Sequence[Command]) -> None:
        self.commands = tuple(commands)
        self._by_name = {command.name: command for command in self.commands}

    def find(self, name: str) -> Command | None:
        """Return the command of that name, None when there is none."""
        return self._by_name.get(name.casefold())

    def nearest(self, name: str) -> str | None:
        """Return the name most like a mistyped one, None when none is near."""
        best = process.extractOne(name.casefold(), list(self._by_name), score_cutoff=60)
        return best[0] if best else None


def _decoding_arguments() -> tuple[Argument, ...]:
    arguments = []
    for name, (lowest, highest) in decoding_ranges().items():
        kind = ArgumentKind.WHOLE if name in values.WHOLE else ArgumentKind.NUMBER
        arguments.append(Argument(name, kind, lowest=lowest, highest=highest))
    return tuple(arguments)


_WORDS = Argument("words", ArgumentKind.WORDS)
_GENRE = Argument("genre", ArgumentKind.CHOICE, choices=tuple(Genre))
_OPENING = Argument("opening", ArgumentKind.TEXT, longest=MAX_OPENING_CHARS)
_STEERING = (
    Argument("level", ArgumentKind.CHOICE, choices=tuple(Level)),
    Argument("length", ArgumentKind.CHOICE, choices=tuple(Length)),
    Argument("model", ArgumentKind.MODEL),
    Argument("seed", ArgumentKind.WHOLE, lowest=0, highest=MAX_SEED),
    Argument("preset", ArgumentKind.CHOICE, choices=tuple(PRESETS)),
    *_decoding_arguments(),
)
_STORY = (
    _GENRE,
    _WORDS,
    _OPENING,
    Argument("title", ArgumentKind.TEXT, longest=MAX_TITLE_CHARS),
    *_STEERING,
)
_SENTENCE_WORDS = Argument("words", ArgumentKind.WORDS, required=True)
_SETTING_ARGUMENTS = (
    Argument("name", ArgumentKind.SETTING, choices=(*SETTINGS, settings.LANGUAGE, settings.RESET)),
    Argument("value", ArgumentKind.TEXT, longest=values.MODEL_CHARS),
)
_HISTORY_ARGUMENTS = (
    Argument("number", ArgumentKind.WHOLE, lowest=1, highest=history.HIGHEST),
    Argument("page", ArgumentKind.WHOLE, lowest=1, highest=history.HIGHEST),
)
_HELP_ARGUMENTS = (Argument("command", ArgumentKind.COMMAND),)

CATALOG = Catalog(
    [
        Command("story", story.story, parse_story, _STORY, cooldown=2.0),
        Command("again", story.again, parse_again, (_GENRE, *_STEERING), cooldown=2.0),
        Command("continue", story.continue_, parse_continue, (_WORDS, _OPENING, *_STEERING), cooldown=2.0),
        Command("sentence", story.sentence, parse_sentence, (_SENTENCE_WORDS, *_STEERING), cooldown=2.0),
        Command("joke", story.joke, parse_joke, (_WORDS, _OPENING, *_STEERING), cooldown=2.0),
        Command("settings", settings.settings, settings.parse_settings, _SETTING_ARGUMENTS),
        Command("history", history.history, history.parse_history, _HISTORY_ARGUMENTS),
        Command("help", guide.help_, guide.parse_guide, _HELP_ARGUMENTS),
        Command("about", guide.about, guide.parse_guide),
        Command("start", guide.start, guide.parse_guide),
    ]
)
