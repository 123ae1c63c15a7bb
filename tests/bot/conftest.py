"""A conversation with the bot core through the console adapter, over a real store and a scripted engine."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from bot.adapters.console import ConsoleChat
from bot.adapters.screens import PlainScreen
from bot.adapters.sessions import Session
from bot.config import BotSettings
from bot.cooldown import Cooldowns
from bot.dispatch import Dispatcher
from storage import StorageSettings, Store
from tests.bot.scripted_engine import ScriptedEngine


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test away from the user's own data, settings and language."""
    for name in ("DATA", "CONFIG", "STATE", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    for name in [name for name in os.environ if name.startswith(("WORDTALE_", "LC_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LANG", "C.UTF-8")


class ScriptedLines:
    """Stands for the keyboard: the lines of a test, then the end of the input."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)

    async def next(self) -> str | None:
        return next(self._lines, None)


class Conversation:
    """Types lines into the terminal chat and returns what it answers to each."""

    def __init__(self, store: Store, engine: ScriptedEngine, folder: Path) -> None:
        self.store, self.engine = store, engine
        self.out = io.StringIO()
        self.session = Session(folder)
        self.link = engine.link()
        self.dispatcher = Dispatcher(
            store=store,
            storyteller=self.link,
            settings=BotSettings(_env_file=None),
            cooldowns=Cooldowns(lambda: 0.0, scale=0.0),
        )
        self.console = ConsoleChat(
            dispatcher=self.dispatcher, store=store, screen=PlainScreen(self.out), session=self.session
        )

    async def run(self, *lines: str) -> str:
        """Return everything that the chat writes from its start to the end of these lines."""
        before = len(self.out.getvalue())
        await self.console.run(ScriptedLines(lines), greet=False)  # type: ignore[arg-type]
        return self.out.getvalue()[before:]

    async def __call__(self, line: str) -> str:
        """Return the answer to one line."""
        return (await self.run(line)).strip()


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an empty, migrated database and its key, to be copied: migrating takes longer."""
    folder = tmp_path_factory.mktemp("migrated")
    settings = StorageSettings(url=f"sqlite:///{folder}/wordtale.db", key_file=folder / "storage.key")

    async def make() -> None:
        await (await Store.open(settings)).close()

    asyncio.run(make())
    return folder


@pytest.fixture
def storage_settings(tmp_path: Path, migrated: Path) -> StorageSettings:
    for name in ("wordtale.db", "storage.key"):
        shutil.copy2(migrated / name, tmp_path / name)
    return StorageSettings(url=f"sqlite:///{tmp_path}/wordtale.db", key_file=tmp_path / "storage.key")


@pytest.fixture
async def store(storage_settings: StorageSettings) -> AsyncIterator[Store]:
    opened = await Store.open(storage_settings)
    yield opened
    await opened.close()


@pytest.fixture
def chat(store: Store, engine: ScriptedEngine, tmp_path: Path) -> Conversation:
    return Conversation(store, engine, tmp_path / "chats")
