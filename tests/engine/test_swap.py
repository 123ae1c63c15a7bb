"""Putting another model to use while stories are told: none lost, none mixed, no bad one let in."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import shutil
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from engine.cli import models_app
from engine.client import EngineClient
from engine.config import EngineSettings
from engine.errors import InvalidRequest, ModelRefused, ModelUnknown
from engine.loading import LoadedModel, load
from engine.registry import ModelCard, Registry
from engine.schema import Decoding, StoryRequest, StoryResult
from engine.service import StoryService
from tests import tiny_model
from tests.engine.running import running

NAMES = ("storyteller", "second", "third")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    for number, name in enumerate(NAMES):
        tiny_model.build(folder / name, version=f"v{number}", seed=number * 7)
    return folder


@pytest.fixture
def models(built: Path, tmp_path: Path) -> Path:
    """Return a folder of three models that a test may damage."""
    shutil.copytree(built, tmp_path / "models")
    return tmp_path / "models"


class Loads:
    """Loads models and keeps count of those in memory. `slow` holds a load until it is set."""

    def __init__(self) -> None:
        self.count = self.most = 0
        self.slow = threading.Event()
        self.slow.set()
        self._alive: list[weakref.ref[LoadedModel]] = []

    @property
    def alive(self) -> int:
        gc.collect()
        return self._count()

    def _count(self) -> int:
        return sum(one() is not None for one in self._alive)

    def __call__(self, card: ModelCard) -> LoadedModel:
        assert self.slow.wait(10)
        if "memory" in card.description:
            raise MemoryError
        model = load(card, device="cpu", threads=1)
        self._alive.append(weakref.ref(model))
        self.count += 1
        self.most = max(self.most, self._count())
        return model


@asynccontextmanager
async def serving(
    models: Path, loads: Loads | None = None
) -> AsyncIterator[tuple[EngineClient, StoryService]]:
    settings = EngineSettings(models_dir=models, threads=1, _env_file=None)
    service = StoryService(settings, loader=loads or Loads())
    async with running(service) as url, EngineClient(url) as client:  # type: ignore[arg-type]
        yield client, service
        await service.aclose(0)


def asked(seed: int = 1, **given: Any) -> StoryRequest:
    given.setdefault("decoding", Decoding(max_new_tokens=8))
    return StoryRequest(seed=seed, n_candidates=1, title="A dog", **given)


async def test_a_thousand_stories_across_twenty_swaps(models: Path) -> None:
    loads, seeds = Loads(), range(6)
    async with serving(models, loads) as (client, _):
        alone = {
            (name, f"v{number}", seed): (await client.story(asked(seed, model=name))).text
            for number, name in enumerate(NAMES)
            for seed in seeds
        }
        assert len(set(alone.values())) == len(alone)
        told: list[StoryResult] = []
        swapped = asyncio.Event()

        async def learner(number: int) -> None:
            for turn in range(20):
                result = await client.story(asked((number + turn) % len(seeds)))
                told.append(result)

        async def swap() -> None:
            for number in range(20):
                while len(told) < number * 45:
                    await asyncio.sleep(0.005)
                done = await client.activate(NAMES[(number + 1) % 3])
                assert done.model == NAMES[(number + 1) % 3]
                assert done.previous == NAMES[number % 3]
            swapped.set()

        await asyncio.gather(swap(), *(learner(number) for number in range(50)))
    assert swapped.is_set()
    assert len(told) == 1000
    assert {result.model for result in told} == set(NAMES)
    assert all(result.text == alone[result.model, result.model_version, result.seed] for result in told)
    assert loads.most <= 2
    assert loads.count >= 20


async def test_a_story_under_way_ends_on_the_model_it_began_with(models: Path) -> None:
    loads = Loads()
    async with serving(models, loads) as (client, _):
        long = asked(3, decoding=Decoding(max_new_tokens=300))
        alone = (await client.story(long)).text
        async with httpx.AsyncClient(base_url=client.base_url) as http:
            started = asyncio.create_task(client.story(long))
            while "running_rows 1" not in (await http.get("/metrics")).text:
                await asyncio.sleep(0)
        await client.activate("second")
        new, old = await client.story(asked(3)), await started
        assert (old.model, old.text) == ("storyteller", alone)
        assert new.model == "second"


async def test_stories_go_on_while_a_candidate_loads(models: Path) -> None:
    loads = Loads()
    async with serving(models, loads) as (client, _):
        loads.slow.clear()
        swap = asyncio.create_task(client.activate("second"))
        for seed in range(5):
            assert (await client.story(asked(seed))).model == "storyteller"
        assert not swap.done()
        loads.slow.set()
        await swap
        assert (await client.story(asked())).model == "second"


async def test_rollback_needs_no_loading_and_outlives_a_restart(models: Path) -> None:
    loads = Loads()
    async with serving(models, loads) as (client, service):
        with pytest.raises(InvalidRequest, match="no earlier"):
            await client.rollback()
        await client.activate("second")
        await client.activate("third")
        assert loads.alive == 2
        count = loads.count
        back = await client.rollback()
        assert (back.model, back.model_version, back.previous, back.kept) == ("second", "v1", "third", True)
        assert loads.count == count
        assert back.seconds < 1
        assert (await client.story(asked())).model == "second"
        assert service.gauges()["models_loaded"] == 2
    async with serving(models) as (client, _):
        assert (await client.story(asked())).model == "second"
        assert (await client.rollback()).model == "storyteller"
        states = {info.name: (info.active, info.loaded) for info in await client.models()}
        assert states == {"storyteller": (True, True), "second": (False, True), "third": (False, False)}


def cut_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])


def no_numbers(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] = torch.full_like(weights["model.norm.weight"], float("nan"))
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def another_architecture(folder: Path) -> None:
    edit(folder / "config.json", architectures=["NobodyForCausalLM"], model_type="nobody")


def another_layout(folder: Path) -> None:
    """Say that the weights are of another architecture, of the same sizes."""
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": tiny_model.CONTEXT}
    edit(folder / "config.json", architectures=["GPT2LMHeadModel"], model_type="gpt2", **sizes)


def a_broken_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"model": 3}')


def too_large(folder: Path) -> None:
    edit(folder / "wordtale.json", description="needs more memory than there is")


def edit(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize(
    "damage",
    [cut_weights, no_numbers, no_config, another_architecture, another_layout, a_broken_tokenizer, too_large],
)
async def test_a_bad_candidate_never_replaces_a_good_model(
    models: Path, damage: Callable[[Path], None]
) -> None:
    damage(models / "second")
    loads = Loads()
    async with serving(models, loads) as (client, service):
        before = (await client.story(asked())).text
        with pytest.raises((ModelRefused, InvalidRequest)) as refused:
            await client.activate("second")
        assert "second" in refused.value.message
        assert "Traceback" not in refused.value.message
        result = await client.story(asked())
        assert (result.model, result.text) == ("storyteller", before)
        assert (loads.alive, service.gauges()["models_loaded"]) == (1, 1)
        assert (await client.activate("third")).previous == "storyteller"
    assert Registry(EngineSettings(models_dir=models)).default() == "third"


async def test_an_unknown_model_and_another_version(models: Path) -> None:
    async with serving(models) as (client, _):
        with pytest.raises(ModelUnknown, match="second"):
            await client.activate("secnd")
        with pytest.raises(InvalidRequest, match="is version v1"):
            await client.activate("second", "v9")
        assert (await client.activate("second", "v1")).model_version == "v1"


async def test_another_version_under_the_same_name(models: Path, built: Path) -> None:
    loads = Loads()
    async with serving(models, loads) as (client, _):
        old = (await client.story(asked())).text
        (models / "storyteller").rename(models / "storyteller.part")
        shutil.copytree(built / "third", models / "storyteller")
        assert (await client.story(asked(model="storyteller"))).text == old
        info = next(one for one in await client.models() if one.name == "storyteller")
        assert (info.version, info.version_on_disk, info.active) == ("v0", "v2", True)
        done = await client.activate("storyteller")
        assert (done.previous_version, done.model_version, done.kept) == ("v0", "v2", True)
        new = await client.story(asked())
        assert (new.model, new.model_version) == ("storyteller", "v2")
        assert new.text != old
        back = await client.rollback()
        assert (back.model_version, back.kept) == ("v0", False)
        assert (await client.story(asked())).text == old
        assert loads.count == 2
        await client.activate("storyteller")
        await client.story(asked(model="second"))
        with pytest.raises(InvalidRequest, match="neither in memory"):
            await client.rollback()
        assert (await client.story(asked())).model_version == "v2"


async def test_models_that_requests_name_wait_for_room(models: Path) -> None:
    loads = Loads()
    async with serving(models, loads) as (client, _):
        names = ["second", "third", None] * 8
        told = await asyncio.gather(
            *(client.story(asked(seed, model=name)) for seed, name in enumerate(names))
        )
        assert [result.model for result in told] == [name or "storyteller" for name in names]
    assert loads.most <= 2


async def test_the_model_before_serves_when_the_default_is_damaged_at_the_start(models: Path) -> None:
    registry = Registry(EngineSettings(models_dir=models))
    registry.use("third")
    registry.use("second")
    cut_weights(models / "second")
    async with serving(models) as (client, _):
        assert (await client.story(asked())).model == "third"
    fixed = StoryService(EngineSettings(models_dir=models, default_model="second"), loader=Loads())
    with pytest.raises(ModelRefused):
        await fixed.start()
    await fixed.aclose(0)


async def test_a_folder_that_cannot_be_written_is_said(models: Path) -> None:
    (models / "default.json.part").mkdir()
    async with serving(models) as (client, _):
        assert not (await client.activate("second")).kept
        assert (await client.story(asked())).model == "second"


async def test_commands_tell_a_running_engine(
    models: Path, built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def said(*arguments: str) -> str:
        done = await asyncio.to_thread(CliRunner().invoke, models_app, list(arguments))
        assert "Traceback" not in done.output
        return done.output

    async with serving(models) as (client, _):
        monkeypatch.setenv("WORDTALE_ENGINE_MODELS_DIR", str(models))
        monkeypatch.setenv("WORDTALE_ENGINE_PORT", client.base_url.rpartition(":")[2])
        swapped = await said("use", "second")
        assert re.search(r"second v1 answers now: the engine at http\S+ swapped in ", swapped)
        assert (await client.story(asked())).model == "second"
        assert "storyteller v0 answers again: " in await said("rollback")
        assert "There is no earlier default model to go back to." in await said("rollback")
        assert "Did you mean second?" in await said("use", "secnd")
        assert "is added" in await said("add", str(built / "third"), "--name", "fourth")
        assert (await client.story(asked(model="fourth"))).model == "fourth"
        monkeypatch.setenv("WORDTALE_ENGINE_MODELS_DIR", str(models / "elsewhere"))
        assert "another folder" in await said("add", str(built / "third"), "--name", "fifth")
        cut_weights(models / "third")
        assert "can't be loaded" in await said("use", "third")
        assert (await client.story(asked())).model == "storyteller"
