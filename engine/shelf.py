"""Models in memory: never more than a few, lent to whoever writes with them, let go when unused.

Two versions of one name are two models. Knows nothing of what a model does.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from engine.registry import ModelCard

M = TypeVar("M")
Key = tuple[str, str, int]


@dataclass(eq=False)
class _Place(Generic[M]):
    """A model, or one being loaded, and how many write with it or wait for it.

    A pinned one makes no room for others.
    """

    card: ModelCard
    loading: asyncio.Task[M] = field(init=False)
    users: int = 0
    pins: int = 0


class Shelf(Generic[M]):
    """Keeps the `capacity` models used last. Belongs to one event loop.

    The bound is strict: a model that has to make room counts until the last story of it has ended, and
    only then is the next one loaded. One loads at a time.
    """

    def __init__(self, load: Callable[[ModelCard], M], capacity: int = 2) -> None:
        self._load = load
        self._capacity = capacity
        self._places: OrderedDict[Key, _Place[M]] = OrderedDict()
        self._leaving: set[_Place[M]] = set()
        self._coming: dict[Key, _Place[M]] = {}
        self._loading = asyncio.Lock()
        self._freed = asyncio.Event()

    @property
    def loaded(self) -> frozenset[tuple[str, str]]:
        """Name and version of each model in memory that new requests can have without loading."""
        return frozenset((place.card.name, place.card.version) for place in self._places.values())

    @property
    def held(self) -> int:
        """Number of models in memory, those included that only finish what they began."""
        return len(self._places) + len(self._leaving)

    def has(self, card: ModelCard) -> bool:
        """Whether this very model is there."""
        return _key(card) in self._places

    @asynccontextmanager
    async def lend(self, card: ModelCard, *, pinned: bool = False) -> AsyncIterator[M]:
        """Give a model for the length of the block, loading it in a thread when it isn't there.

        Waits for room. A load goes on when its caller is cancelled. Raises what loading raises.
        """
        key = _key(card)
        place = self._places.get(key) or self._coming.get(key) or self._begin(key, card)
        place.users += 1
        place.pins += pinned
        try:
            model = await asyncio.shield(place.loading)
            if key in self._places:
                self._places.move_to_end(key)
            yield model
        finally:
            place.users -= 1
            place.pins -= pinned
            self._settle(place)

    def keep(self, card: ModelCard, instead_of: ModelCard | None = None) -> None:
        """Pin a model that is there for good; unpin the one it replaces."""
        self._places[_key(card)].pins += 1
        if instead_of is not None and (old := self._places.get(_key(instead_of))) is not None:
            old.pins -= 1
            self._freed.set()

    def drop(self, card: ModelCard) -> None:
        """Let a model go as soon as nobody writes with it."""
        if (place := self._places.pop(_key(card), None)) is not None:
            self._leaving.add(place)
            self._settle(place)

    def _settle(self, place: _Place[M]) -> None:
        if not place.users:
            self._leaving.discard(place)
        self._freed.set()

    def _begin(self, key: Key, card: ModelCard) -> _Place[M]:
        place = self._coming[key] = _Place[M](card)
        place.loading = asyncio.create_task(self._bring(key, place))
        # Read, lest a failure that nobody waits for any more is complained about.
        place.loading.add_done_callback(lambda task: task.cancelled() or task.exception())
        return place

    async def _bring(self, key: Key, place: _Place[M]) -> M:
        try:
            async with self._loading:
                await self._make_room()
                model = await asyncio.to_thread(self._load_into_freed, place.card)
                self._places[key] = place
                return model
        finally:
            del self._coming[key]

    async def _make_room(self) -> None:
        while self.held >= self._capacity:
            self._freed.clear()
            free = [place for place in self._places.values() if not place.pins]
            if free and len(self._places) >= self._capacity:
                # The one unused for longest, one nobody writes with if there is such.
                self.drop(min(free, key=lambda place: place.users > 0).card)
            else:
                await self._freed.wait()

    def _load_into_freed(self, card: ModelCard) -> M:
        _give_back()
        return self._load(card)


def _give_back() -> None:
    """Let glibc hand freed memory back, which it else keeps in pieces, swap after swap."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _key(card: ModelCard) -> Key:
    return card.name, card.version, card.changed
