"""A waiting line that is fair between persons: round robin over persons, in order within one person.

Knows nothing of what waits. Not thread-safe.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import count
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Items of named persons take turns; an item without a person is a person of its own."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[T]] = {}
        self._turns: deque[str] = deque()
        self._anonymous = count()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def of(self, person: str) -> int:
        """Return how many items of a person wait."""
        return len(self._lines.get(_named(person), ()))

    def push(self, person: str | None, item: T) -> None:
        """Put an item at the end of its person's line."""
        key = f"#{next(self._anonymous)}" if person is None else _named(person)
        if key not in self._lines:
            self._lines[key] = deque()
            self._turns.append(key)
        self._lines[key].append(item)
        self._length += 1

    def peek(self) -> T | None:
        """Return the next item without taking it, None when nothing waits."""
        return self._lines[self._turns[0]][0] if self._turns else None

    def pop(self) -> T:
        """Take the next item; its person then stands behind all others. Raises IndexError when empty."""
        key = self._turns.popleft()
        item = self._lines[key].popleft()
        self._length -= 1
        if self._lines[key]:
            self._turns.append(key)
        else:
            del self._lines[key]
        return item

    def remove(self, item: T) -> bool:
        """Take an item out of the line, wherever it stands; false when it isn't there."""
        for key, line in self._lines.items():
            if item in line:
                line.remove(item)
                self._length -= 1
                if not line:
                    del self._lines[key]
                    self._turns.remove(key)
                return True
        return False

    def __iter__(self) -> Iterator[T]:
        """Yield items in the order in which they would be taken."""
        lines = [self._lines[key] for key in self._turns]
        for depth in range(max(map(len, lines), default=0)):
            for line in lines:
                if depth < len(line):
                    yield line[depth]


def _named(person: str) -> str:
    return f"@{person}"
