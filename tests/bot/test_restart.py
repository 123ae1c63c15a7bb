"""An engine killed under waiting stories: started again, and every learner gets one story."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from pathlib import Path

import httpx
import pytest

from bot.config import BotSettings
from bot.context import Caller
from bot.cooldown import Cooldowns
from bot.dispatch import Dispatcher
from bot.replies import flatten
from bot.storyteller import EngineLink, answering
from bot.supervisor import Supervisor, engine
from engine.client import EngineAddress, EngineClient, EngineUnavailable
from storage import Store
from tests import tiny_model

ROOT = Path(__file__).parents[2]
LEARNERS = 6


async def busy(client: EngineClient, requests: int) -> None:
    """Wait until so many requests wait or run."""
    async with asyncio.timeout(30), httpx.AsyncClient(base_url=client.base_url) as http:
        while f"wordtale_engine_requests {requests}.0" not in (await http.get("/metrics")).text:
            await asyncio.sleep(0)


async def test_every_learner_gets_one_story_though_the_engine_is_killed(store: Store, tmp_path: Path) -> None:
    tiny_model.build(tmp_path / "models" / "storyteller")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = EngineAddress(f"http://127.0.0.1:{probe.getsockname()[1]}")
    settings = {"MODELS_DIR": tmp_path / "models", "THREADS": 1, "MAX_ROWS": 1}
    environment = {f"WORDTALE_ENGINE_{name}": str(value) for name, value in settings.items()}
    environment |= address.environment | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    async with EngineClient(address.url) as client:
        command = (sys.executable, "-P", "-m", "engine", "serve", "--stop-with-parent")
        supervisor = Supervisor([engine(client, command)], environment)
        running = asyncio.create_task(supervisor.run())
        try:
            await answering(client)
            dispatcher = Dispatcher(
                store=store,
                storyteller=EngineLink(client, lambda: answering(client)),
                settings=BotSettings(_env_file=None),
                cooldowns=Cooldowns(time.monotonic, scale=0.0),
            )
            people = [Caller("telegram", f"p{n}", f"telegram:{n}", "t1") for n in range(LEARNERS)]
            lines = ["/story Tom, dinner length=long" for _ in range(LEARNERS)]
            asked = [asyncio.create_task(dispatcher.handle(*one)) for one in zip(people, lines, strict=True)]
            await busy(client, LEARNERS)
            began = time.monotonic()
            os.kill(supervisor.processes["engine"].pid, signal.SIGKILL)
            replies = await asyncio.gather(*asked)
            assert time.monotonic() - began < 60
            answers = [flatten(reply.segments).text for reply in replies]
            assert all("2/2 words" in answer for answer in answers), answers
            assert all("had stopped" in answer for answer in answers)
            again = [await dispatcher.handle(*one) for one in zip(people, lines, strict=True)]
            assert all("2/2 words" in flatten(reply.segments).text for reply in again)
        finally:
            supervisor.stop()
            await running
    assert await store.stories.pending() == []
    for caller in people:
        person = await store.people.resolve(caller.platform, caller.external_id)
        assert len(await store.stories.recent(person.id, limit=5)) == 1


async def test_an_engine_that_stays_away_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    async with EngineClient(url) as client:
        with pytest.raises(EngineUnavailable, match="not back"):
            await answering(client, seconds=0.3)
