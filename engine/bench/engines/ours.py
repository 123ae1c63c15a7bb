"""Our own engine as `/v1/stories` uses it: word keeping and content filter on, HTTP left out.

Knows the service; nothing of backends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing

from engine import logging
from engine.bench.engines.base import About, Setup, Task, Written
from engine.config import EngineSettings
from engine.loading import LoadedModel, load
from engine.registry import ModelCard
from engine.schema import DoneEvent, ErrorEvent, StoryRequest, TextEvent
from engine.service import StoryService


class Ours:
    """A story service and its event loop."""

    def __init__(self, setup: Setup) -> None:
        logging.configure("warning")
        given = {"default_model": setup.model, "device": setup.device, "threads": setup.threads}
        self._settings = EngineSettings.model_validate(given)
        self._models: list[LoadedModel] = []
        self._runner = asyncio.Runner()
        self._service = StoryService(self._settings, loader=self._load)
        self._runner.run(self._service.start())
        loaded = self._models[0].steps
        steps = getattr(loaded, "first", loaded)
        plain = 2.0 if setup.device == "cuda" else 4.0
        weight, cache = (float(getattr(steps, f"{what}_bytes", plain)) for what in ("weight", "cache"))
        self.about = About(weight, cache, backend=type(steps).__name__)

    def write(self, tasks: Sequence[Task], seconds: float) -> list[Written]:
        """Ask for all stories at once."""
        return self._runner.run(self._all([task.request for task in tasks]))

    def close(self) -> None:
        """End the service."""
        self._runner.run(self._service.aclose(0))
        self._runner.close()

    def _load(self, card: ModelCard) -> LoadedModel:
        """Load as the service would, and remember what came of it."""
        asked = self._settings
        model = load(card, device=asked.device, threads=asked.compute_threads(), backend=asked.backend)
        self._models.append(model)
        return model

    async def _all(self, requests: Sequence[StoryRequest]) -> list[Written]:
        began = time.perf_counter()
        return await asyncio.gather(*(self._one(request, began) for request in requests))

    async def _one(self, request: StoryRequest, began: float) -> Written:
        first = 0.0
        async with aclosing(self._service.stories(request)) as events:
            async for event in events:
                now = time.perf_counter() - began
                if isinstance(event, TextEvent):
                    first = first or now
                elif isinstance(event, DoneEvent):
                    result = event.result
                    return Written(result.timing.tokens, first or now, now, candidates=result.n)
                elif isinstance(event, ErrorEvent):
                    return Written(0, now, now, failed=event.message)
        return Written(0, 0.0, 0.0, failed="no answer")
