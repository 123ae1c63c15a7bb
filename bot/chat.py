"""Puts a terminal chat together: settings, storage, engine, screen, keyboard; and takes it apart again."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import AsyncExitStack

from platformdirs import user_log_path, user_state_path

from bot.adapters.console import ConsoleChat, on_signals
from bot.adapters.keyboard import Lines, terminal_kept, with_line_editor
from bot.adapters.screens import PlainScreen, RichScreen, Screen
from bot.adapters.sessions import Session
from bot.config import BotSettings
from bot.cooldown import Cooldowns
from bot.dispatch import Dispatcher
from bot.localisation import Localiser, language_of_environment
from bot.logs import log_to_file
from bot.storyteller import EngineLink
from bot.trouble import storage_problem
from engine.client import LocalEngine
from storage import StorageError, Store

PROMPT = "› "


def chat() -> int:
    """Run the chat until the input ends; return the exit status: 0, or 1 when it could not even begin."""
    settings = BotSettings()
    log_to_file(user_log_path("wordtale") / "chat.log", settings.log_level)
    try:
        with terminal_kept(sys.stdin):
            return asyncio.run(_chat(settings))
    except BrokenPipeError:
        # Whoever read our output has left (`wordtale chat | head`): nothing more to say, and no complaint.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


async def _chat(settings: BotSettings) -> int:
    locale = settings.language or language_of_environment()
    async with AsyncExitStack() as stack:
        try:
            store = await stack.enter_async_context(await Store.open())
        except StorageError as error:
            sentence = Localiser(locale or "en").message(storage_problem(error))
            sys.stderr.write(f"{sentence} ({error})\n")
            return 1
        engine = LocalEngine()
        stack.push_async_exit(engine)
        link = EngineLink(engine.client, engine.ensure)
        stack.push_async_callback(link.aclose)
        link.start()
        session = Session(user_state_path("wordtale") / "chats")
        stack.callback(session.close)
        dispatcher = Dispatcher(
            store=store,
            storyteller=link,
            settings=settings,
            cooldowns=Cooldowns(time.monotonic, scale=0.0),
        )
        interactive = sys.stdin.isatty()
        console = ConsoleChat(
            dispatcher=dispatcher,
            store=store,
            screen=_screen(),
            session=session,
            locale=locale,
            starting=lambda: link.starting,
        )
        await _until_left(console, interactive=interactive)
    return 0


async def _until_left(console: ConsoleChat, *, interactive: bool) -> None:
    if interactive:
        with_line_editor()
    lines = Lines(sys.stdin, PROMPT if interactive and sys.stdout.isatty() else None)
    running = asyncio.ensure_future(console.run(lines, greet=interactive))

    def interrupt() -> None:
        if not console.interrupt():
            running.cancel()

    def stop() -> None:
        running.cancel()

    on_signals(interrupt, stop)
    try:
        await running
    except asyncio.CancelledError:
        if not running.cancelled():
            raise
    if interactive:
        sys.stdout.write("\n")


def _screen() -> Screen:
    if not sys.stdout.isatty():
        return PlainScreen(sys.stdout)
    from rich.console import Console

    return RichScreen(Console(highlight=False, markup=False, emoji=False))
