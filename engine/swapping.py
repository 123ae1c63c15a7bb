"""Which model answers when a request names none, and putting another in its place without losing a story.

A candidate is loaded and tried beside the one that answers; new requests go to it from one moment on, and
stories under way end on the model they began with. Knows models as wholes; nothing of requests or HTTP.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

import structlog

from engine.errors import EngineError, InvalidRequest, ModelRefused, NotReady
from engine.registry import ModelCard, Registry
from engine.schema import Activation, ModelInfo
from engine.shelf import Shelf

MODELS_IN_MEMORY = 2
"""The one that answers and the one before it, or a candidate, or one that a request named."""

SAID_SECONDS = 1.0

M = TypeVar("M")

_log = structlog.get_logger("engine")


class Swapper(Generic[M]):
    """The models of a registry, one of which is active. Belongs to one event loop.

    `load` loads a model (blocking); `try_out` lets it write something and raises when that goes wrong.
    """

    def __init__(
        self, registry: Registry, load: Callable[[ModelCard], M], try_out: Callable[[M], Awaitable[None]]
    ) -> None:
        self._registry = registry
        self._shelf = Shelf(lambda card: _loaded(load, card), MODELS_IN_MEMORY)
        self._try_out = try_out
        self._active: ModelCard | None = None
        self._replaced: ModelCard | None = None
        """What was active before another version under its name: only memory may still hold it."""
        self._swapping = asyncio.Lock()

    @property
    def active(self) -> ModelCard | None:
        """The model that answers, None before the start."""
        return self._active

    @property
    def held(self) -> int:
        """Number of models in memory."""
        return self._shelf.held

    async def start(self) -> ModelCard:
        """Load the default model and make it active; one from before where it can't be loaded.

        Raises ModelUnknown or ModelRefused, the default's, when none can be loaded.
        """
        try:
            return await self._start_with(None)
        except EngineError as error:
            for name in await asyncio.to_thread(self._registry.fallbacks):
                _log.error("the default model can't be used; trying the one before", reason=error.message)
                try:
                    return await self._start_with(name)
                except EngineError as other:
                    _log.error("this one can't be used either", model=name, reason=other.message)
            raise

    async def _start_with(self, name: str | None) -> ModelCard:
        card = await asyncio.to_thread(self._registry.card, name)
        async with self._brought(card) as (model, _):
            try:
                await self._try_out(model)
            except EngineError as error:
                # A model that stumbles in its trial may still be the best there is.
                _log.warning("the trial story failed", model=card.name, reason=error.message)
            self._take(card)
        return card

    @asynccontextmanager
    async def lend(self, name: str | None) -> AsyncIterator[M]:
        """Give the active model, or the one named, for the length of the block.

        The active one's name means the active version, whatever lies on disk by now. Raises ModelUnknown,
        ModelRefused.
        """
        card = self._active
        if card is None:
            raise NotReady("The storyteller is still waking up.", retry_after=2.0)
        if name not in (None, card.name):
            card = await asyncio.to_thread(self._registry.card, name)
        async with self._shelf.lend(card) as model:
            yield model

    async def activate(self, name: str, version: str | None = None) -> Activation:
        """Put a model to use, now and after a restart; with `version` only that one. One swap at a time.

        Raises ModelUnknown, InvalidRequest for another version, ModelRefused for one that can't be loaded
        or fails its trial: the active model then stays.
        """
        async with self._swapping:
            card = await asyncio.to_thread(self._registry.card, name)
            if version not in (None, card.version):
                raise InvalidRequest(f"{card.name} on disk is version {card.version}: nothing was changed.")
            return await self._swap(card, lambda: self._registry.use(card.name))

    async def rollback(self) -> Activation:
        """Put the model back that was active before. Raises InvalidRequest when there is none.

        Raises ModelUnknown or ModelRefused when it was removed or damaged meanwhile.
        """
        async with self._swapping:
            replaced, active = self._replaced, self._active
            if replaced is not None and active is not None and replaced.name == active.name:
                if not self._shelf.has(replaced):
                    raise InvalidRequest(
                        f"{replaced.name} {replaced.version} is neither in memory nor on disk."
                    )
                return await self._swap(replaced, None)
            card = await asyncio.to_thread(self._registry.previous)
            return await self._swap(card, self._registry.rollback)

    async def _swap(self, card: ModelCard, record: Callable[[], object] | None) -> Activation:
        began, before = time.monotonic(), self._active
        async with self._brought(card) as (model, fresh):
            if fresh:
                await self._tried(card, model)
            kept = await asyncio.to_thread(self._recorded, record)
            self._take(card)
        seconds = round(time.monotonic() - began, 3)
        _log.info("model swapped", model=card.name, version=card.version, seconds=seconds)
        return Activation(
            model=card.name,
            model_version=card.version,
            previous=before.name if before else None,
            previous_version=before.version if before else None,
            seconds=seconds,
            kept=kept,
        )

    @asynccontextmanager
    async def _brought(self, card: ModelCard) -> AsyncIterator[tuple[M, bool]]:
        """Give a model that nothing displaces, and whether it was loaded for this. Raises ModelRefused."""
        fresh = not self._shelf.has(card)
        async with self._shelf.lend(card, pinned=True) as model:
            yield model, fresh

    async def _tried(self, card: ModelCard, model: M) -> None:
        try:
            await self._try_out(model)
        except EngineError as error:
            self._shelf.drop(card)
            # The failure's traceback holds the candidate in a cycle; it is to go once that has been said.
            asyncio.get_running_loop().call_later(SAID_SECONDS, gc.collect)
            raise ModelRefused(f"{card.name} is not put to use, its trial failed: {error.message}") from error

    def _take(self, card: ModelCard) -> None:
        """Let new requests go to a model that is pinned."""
        before = self._active
        if before == card:
            return
        self._shelf.keep(card, instead_of=before)
        self._active = card
        self._replaced = before if before is not None and before.name == card.name else None

    def _recorded(self, record: Callable[[], object] | None) -> bool:
        """Remember the choice for a restart; whether that worked and will count."""
        try:
            if record is not None:
                record()
        except OSError as error:
            _log.warning("the default model can't be remembered", reason=error.strerror)
            return False
        return record is not None and not self._registry.fixed

    def infos(self) -> list[ModelInfo]:
        """Return every model known (reads the disk: not for the event loop)."""
        cards, loaded = {card.name: card for card in self._registry.cards()}, self._shelf.loaded
        active = self._active
        if active is not None:
            cards.setdefault(active.name, active)
        return [_info(card, active, loaded) for _, card in sorted(cards.items())]


def _loaded(load: Callable[[ModelCard], M], card: ModelCard) -> M:
    """Load a model. Whatever goes wrong is the model's fault, and leaves as ModelRefused."""
    try:
        return load(card)
    except EngineError:
        raise
    except MemoryError as error:
        raise ModelRefused(f"There is not enough memory for {card.name}.") from error
    except BaseException as error:  # a panic of a library in Rust is no Exception
        _log.exception("loading a model failed", model=card.name)
        raise ModelRefused(f"{card.name} can't be loaded: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _info(card: ModelCard, active: ModelCard | None, loaded: frozenset[tuple[str, str]]) -> ModelInfo:
    """Describe what a request that names the model gets."""
    serves = active if active is not None and active.name == card.name else card
    return ModelInfo(
        name=serves.name,
        family=serves.family,
        version=serves.version,
        parameters=serves.parameters,
        active=serves is active,
        loaded=(serves.name, serves.version) in loaded,
        context=serves.context,
        description=serves.description,
        version_on_disk=card.version if card.changed != serves.changed else None,
    )
