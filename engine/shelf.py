"""Models in memory: loaded when first asked for, at most a few at a time.

Knows nothing of what a model does.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from engine.registry import ModelCard

M = TypeVar("M")
Key = tuple[str, str, int]


class Shelf(Generic[M]):
    """Keeps the `capacity` models used last; one loads at a time. Belongs to one event loop."""

    def __init__(self, load: Callable[[ModelCard], M], capacity: int = 2) -> None:
        self._load = load
        self._capacity = capacity
        self._models: OrderedDict[Key, M] = OrderedDict()
        self._loading = asyncio.Lock()

    @property
    def loaded(self) -> frozenset[str]:
        """Names of the models in memory."""
        return frozenset(name for name, _, _ in self._models)

    async def get(self, card: ModelCard) -> M:
        """Return a model, loading it in a thread when it isn't there or was replaced on disk."""
        key = _key(card)
        if key not in self._models:
            async with self._loading:
                if key not in self._models:
                    self._models[key] = await asyncio.to_thread(self._load, card)
        self._models.move_to_end(key)
        while len(self._models) > self._capacity:
            self._models.popitem(last=False)
        return self._models[key]


def _key(card: ModelCard) -> Key:
    path = card.directory / "wordtale.json"
    changed = path.stat().st_mtime_ns if path.is_file() else 0
    return card.name, card.version, changed
