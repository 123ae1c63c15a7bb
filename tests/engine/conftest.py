"""A story service over tiny models. Model libraries are imported by the fixtures that need them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from engine.loading import LoadedModel
    from engine.registry import ModelCard
    from engine.service import StoryService
    from engine.testing import ScriptedBackend

Open = Callable[..., Any]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of four tiny models; tests read it only."""
    from tests import tiny_model

    folder = tmp_path_factory.mktemp("models")
    tiny_model.build(folder / "storyteller")
    tiny_model.build(folder / "second", version="tiny-2", seed=5)
    tiny_model.build_gpt2(folder / "tiny-gpt2")
    tiny_model.build_t5(folder / "tiny-t5")
    return folder


@cache
def _load(card: ModelCard) -> LoadedModel:
    from engine.loading import load

    return load(card, device="cpu", threads=1)


@pytest.fixture
async def open_service(models: Path) -> AsyncIterator[Open]:
    """Return a function that starts a service; `steps` puts a scripted backend into the default model."""
    from engine.config import EngineSettings
    from engine.service import StoryService

    opened: list[StoryService] = []

    async def open_one(steps: ScriptedBackend | None = None, **given: Any) -> StoryService:
        def loader(card: ModelCard) -> LoadedModel:
            model = _load(card)
            return replace(model, steps=steps) if steps and card.name == "storyteller" else model

        service = StoryService(EngineSettings(models_dir=models, threads=1, **given), loader=loader)
        opened.append(service)
        await service.start()
        return service

    yield open_one
    for service in opened:
        await service.aclose(0)


@pytest.fixture
async def service(open_service: Open) -> StoryService:
    started: StoryService = await open_service()
    return started
