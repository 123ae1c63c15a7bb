"""From a line or a tap to a reply: finds the command, checks who may, reads the arguments, runs it.

Whatever goes wrong becomes a sentence: this is one of the two outermost loops. Knows no platform.
"""

from __future__ import annotations

import logging
import math
import traceback
from collections.abc import Awaitable, Callable, Mapping

from bot.cards import story_card
from bot.catalog import CATALOG, Catalog
from bot.config import BotSettings
from bot.context import Caller, Context
from bot.cooldown import Cooldowns
from bot.grammar import MAX_MESSAGE_CHARS, words_of
from bot.lexing import clean
from bot.localisation import Localiser, language_of
from bot.messages import Message, Problem, echo, problem
from bot.preferences import Preferences
from bot.replies import Reply, Report, silent
from bot.storyteller import Storyteller
from bot.trouble import engine_problem, storage_problem
from bot.turns import resume
from engine.client import EngineError
from storage import StorageError, Store, Story

EXAMPLE_WORDS = "Tom, dinner"
_SLASHES = "/／"

log = logging.getLogger("wordtale.bot")


class Dispatcher:
    """Answers callers of any platform. Safe to share between tasks."""

    def __init__(
        self,
        *,
        store: Store,
        storyteller: Storyteller,
        settings: BotSettings,
        cooldowns: Cooldowns,
        catalog: Catalog = CATALOG,
    ) -> None:
        self._store = store
        self._storyteller = storyteller
        self._language = settings.language
        self._owners = frozenset(settings.admins)
        self._cooldowns = cooldowns
        self._catalog = catalog

    async def handle(self, caller: Caller, line: str, report: Report = silent) -> Reply:
        """Answer a typed line: a command, or anything else, which gets a hint. Never raises."""
        line = clean(line)
        if not line.startswith(tuple(_SLASHES)):
            return await self._guarded(caller, report, lambda context: _hint(context, line))
        parts = line[1:].split(None, 1)
        name = parts[0].partition("@")[0] if parts else ""
        return await self.call(caller, name, parts[1] if len(parts) > 1 else "", report=report)

    async def call(
        self,
        caller: Caller,
        name: str,
        text: str = "",
        options: Mapping[str, str] | None = None,
        report: Report = silent,
    ) -> Reply:
        """Run a command by its name with typed text, options given by name, or both. Never raises."""
        return await self._guarded(
            caller, report, lambda context: self._run(context, name, text, options or {})
        )

    async def resume(self, caller: Caller, story: Story, report: Report = silent) -> Reply:
        """Tell a story that an earlier process began. Never raises."""

        async def finish(context: Context) -> Reply:
            return story_card(context.say, await resume(context, story), [Message("console-resumed")])

        return await self._guarded(caller, report, finish)

    def sayer(self, caller: Caller) -> Localiser:
        """Return the language for a caller of whom nothing is known yet."""
        return Localiser(self._language or language_of(caller.locale) or "en")

    async def _run(self, context: Context, name: str, text: str, options: Mapping[str, str]) -> Reply:
        command = self._catalog.find(name)
        if command is None:
            nearest = self._catalog.nearest(name) or "help"
            return _refused(context, problem("unknown-command", command=echo(name), nearest=nearest))
        if not context.may(command):
            return _refused(context, problem("not-allowed", command=command.name))
        arguments = command.parse(text, options)
        if isinstance(arguments, Problem):
            return _refused(context, arguments)
        wait = self._cooldowns.claim(context.person.id, command.name, command.cooldown)
        if wait > 0:
            return _refused(context, problem("cooldown", command=command.name, seconds=math.ceil(wait)))
        return await command.run(context, arguments)

    async def _guarded(
        self, caller: Caller, report: Report, action: Callable[[Context], Awaitable[Reply]]
    ) -> Reply:
        say = self.sayer(caller)
        try:
            context = await self._open(caller, report)
            say = context.say
            return await action(context)
        except StorageError as error:
            log.warning("storage failed: %s", type(error).__name__)
            return Reply.problem(say.message(storage_problem(error)))
        except EngineError as error:
            log.info("the engine refused: %s", error.code.value)
            return Reply.problem(say.message(engine_problem(error)))
        except Exception as error:
            log.error("a command failed: %s", _where(error))
            return Reply.problem(say("internal"))

    async def _open(self, caller: Caller, report: Report) -> Context:
        person = await self._store.people.resolve(caller.platform, caller.external_id)
        stored = await self._store.settings.get(person.id)
        language = language_of(person.locale)
        return Context(
            caller=caller,
            person=person,
            preferences=Preferences.load(stored),
            say=Localiser(language) if language else self.sayer(caller),
            store=self._store,
            storyteller=self._storyteller,
            catalog=self._catalog,
            report=report,
            owners=self._owners,
        )


async def _hint(context: Context, line: str) -> Reply:
    """Answer a line without a slash: with its own words as the example where they make one."""
    words = words_of(line) if len(line) <= MAX_MESSAGE_CHARS else ()
    id_ = "plain-text" if line else "plain-text-empty"
    return Reply.problem(context.say(id_, example=", ".join(words) or EXAMPLE_WORDS))


def _refused(context: Context, wrong: Problem) -> Reply:
    return Reply.problem(context.say.message(wrong))


def _where(error: Exception) -> str:
    """Return the error's type and where it was raised, without its message: that may quote a person."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    return type(error).__name__ + " at " + " < ".join(f"{f.filename}:{f.lineno}" for f in reversed(frames))
