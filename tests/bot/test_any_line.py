"""Whatever a person types gets an answer in words: never silence, never a traceback, whatever came before."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.catalog import CATALOG
from bot.context import Caller
from bot.localisation import LANGUAGES, Localiser
from bot.replies import Tone, flatten
from storage import StorageSettings, Store
from tests.bot.conftest import Conversation
from tests.bot.scripted_engine import KILLED, ScriptedEngine

COMMANDS = [f"/{command.name}" for command in CATALOG.commands]
APOLOGIES = {Localiser(language)("internal") for language in LANGUAGES}
WORDS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["Tom, dinner", "sci_fi", "level=A2", "temperature 9", "preset wild", "language ru", "reset", "3",
         "story=1", "\ud800", "\x00", "😀", "سلام", "=", '"', "a" * 3000, ", , ,", "off", "model nosuch",
         "page 2", "-1"]
    ),
)  # fmt: skip
LINES = st.one_of(
    st.text(max_size=40),
    st.builds(
        lambda name, words: f"{name} {' '.join(words)}",
        st.sampled_from(COMMANDS),
        st.lists(WORDS, max_size=3),
    ),
)


async def answer_all(lines: list[str], kills: bool, migrated: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in ("wordtale.db", "storage.key"):
            shutil.copy2(migrated / file, folder / file)
        where = StorageSettings(url=f"sqlite:///{folder}/wordtale.db", key_file=folder / "storage.key")
        async with await Store.open(where) as store:
            engine = ScriptedEngine()
            chat = Conversation(store, engine, folder / "chats")
            for number, line in enumerate(lines):
                if kills and number % 3 == 0:
                    engine.plan.append(KILLED)
                reply = await chat.dispatcher.handle(
                    Caller("telegram", "ann", "telegram:1", str(number)), line
                )
                assert flatten(reply.segments).text.strip() or reply.panel, line
                assert flatten(reply.segments).text not in APOLOGIES, line
                assert reply.tone in Tone
            assert await store.stories.pending() == []
            chat.session.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(LINES, min_size=1, max_size=15), kills=st.booleans())
def test_any_lines(migrated: Path, lines: list[str], kills: bool) -> None:
    asyncio.run(answer_all(lines, kills, migrated))
