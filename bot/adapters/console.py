"""`wordtale chat`: the terminal as a chat. Reads lines, shows replies; also between pipes.

Stories that a killed chat left unfinished are told when the next one starts. Knows no command by name
except the two that leave.
"""

from __future__ import annotations

import asyncio
import getpass
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from bot.adapters.keyboard import Lines
from bot.adapters.screens import Screen
from bot.adapters.sessions import Session
from bot.context import Caller
from bot.dispatch import Dispatcher
from bot.replies import Reply, Report, Role, Segment
from bot.turns import CANCELLED
from storage import StorageError, Store, Story

PLATFORM = "console"
_LEAVING = frozenset(("/quit", "/exit"))


class ConsoleChat:
    """One person in one terminal."""

    def __init__(
        self,
        *,
        dispatcher: Dispatcher,
        store: Store,
        screen: Screen,
        session: Session,
        locale: str | None = None,
        starting: Callable[[], bool] = lambda: False,
    ) -> None:
        """`locale`: language of the environment; `starting` says whether the engine is still on its way."""
        self._dispatcher = dispatcher
        self._store = store
        self._screen = screen
        self._session = session
        self._locale = locale
        self._starting = starting
        self._turn = 0
        self._answering: asyncio.Task[Reply] | None = None

    async def run(self, lines: Lines, *, greet: bool) -> None:
        """Answer every line until there are no more. `greet` says hello first."""
        if greet:
            await self._hello()
        await self._pick_up()
        while (line := await lines.next()) is not None:
            if line.strip().casefold() in _LEAVING:
                break
            if not line.strip():
                continue
            await self._answer(partial(self._dispatcher.handle, self._caller(), line))

    def interrupt(self) -> bool:
        """Stop the answer under way; False when there is none."""
        if self._answering is None or self._answering.done():
            return False
        return self._answering.cancel(CANCELLED)

    async def _hello(self) -> None:
        reply = await self._dispatcher.call(self._caller(), "start")
        hint = Segment(self._dispatcher.sayer(self._caller())("console-hello"), Role.DETAIL)
        self._screen.show(Reply((*reply.segments, hint)))

    async def _pick_up(self) -> None:
        """Tell what chats that are over were asked for and did not tell."""
        try:
            left = await self._store.stories.pending(f"{PLATFORM}:")
            if not left:
                return
            person = await self._store.people.resolve(PLATFORM, user_name())
        except StorageError:
            return
        for story in left:
            if story.person_id == person.id:
                with self._session.adopting(story.chat.removeprefix(f"{PLATFORM}:")) as ours:
                    if ours:
                        await self._finish(story.id)

    async def _finish(self, story_id: str) -> None:
        story = await self._still_pending(story_id)
        if story is not None:
            await self._answer(partial(self._dispatcher.resume, self._caller(), story))

    async def _still_pending(self, story_id: str) -> Story | None:
        with suppress(StorageError):
            story = await self._store.stories.get(story_id)
            if story is not None and story.state == "pending":
                return story
        return None

    async def _answer(self, ask: Callable[[Report], Awaitable[Reply]]) -> None:
        say = self._dispatcher.sayer(self._caller())
        text = say("console-starting" if self._starting() else "progress-writing")
        reply: Reply | None = None
        async with self._screen.waiting(text) as report:
            self._answering = asyncio.ensure_future(_awaited(ask(report)))
            try:
                reply = await self._answering
            except asyncio.CancelledError as cancelled:
                if cancelled.args != (CANCELLED,):
                    raise
        if reply is not None:
            self._screen.show(reply)

    def _caller(self) -> Caller:
        self._turn += 1
        return Caller(
            platform=PLATFORM,
            external_id=user_name(),
            chat=f"{PLATFORM}:{self._session.id}",
            turn=f"{self._session.id}:{self._turn}",
            locale=self._locale,
        )


def user_name() -> str:
    """Return who is at this terminal, as the system knows them."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "local"


def on_signals(interrupt: Callable[[], None], stop: Callable[[], None]) -> None:
    """Call `interrupt` on Ctrl-C and `stop` when the process is asked to end, where the system can."""
    loop = asyncio.get_running_loop()
    if sys.platform != "win32":
        loop.add_signal_handler(signal.SIGINT, interrupt)
        loop.add_signal_handler(signal.SIGTERM, stop)
        loop.add_signal_handler(signal.SIGHUP, stop)


async def _awaited(answer: Awaitable[Reply]) -> Reply:
    return await answer
