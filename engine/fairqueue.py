"""A waiting line that is fair between groups and persons: turns go round over groups, inside a group over
persons, and inside a person in order.

Knows nothing of what waits. Not thread-safe.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Items take turns by group, then by person; all methods but iteration take constant time.

    A person without a group is a group of one, an item without a person a person of its own.
    """

    def __init__(self) -> None:
        self._groups: OrderedDict[str, OrderedDict[str, OrderedDict[T, None]]] = OrderedDict()
        self._places: dict[T, tuple[str, str]] = {}
        self._of_person: Counter[str] = Counter()
        self._of_group: Counter[str] = Counter()
        self._anonymous = count()
        self.changes = 0
        """How often the line has changed."""

    def __len__(self) -> int:
        return len(self._places)

    def of(self, person: str) -> int:
        """Return how many items of a person wait, in all groups."""
        return self._of_person[_named(person)]

    def of_group(self, group: str) -> int:
        """Return how many items of a group wait."""
        return self._of_group[_group(group)]

    def push(self, person: str | None, item: T, group: str | None = None) -> None:
        """Put an item, which must not wait already, at the end of its person's line."""
        who = f"#{next(self._anonymous)}" if person is None else _named(person)
        where = who if group is None else _group(group)
        self._groups.setdefault(where, OrderedDict()).setdefault(who, OrderedDict())[item] = None
        self._places[item] = where, who
        self._of_person[who] += 1
        self._of_group[where] += 1
        self.changes += 1

    def peek(self) -> T | None:
        """Return the next item without taking it, None when nothing waits."""
        if not self._groups:
            return None
        return next(iter(next(iter(next(iter(self._groups.values())).values()))))

    def skip(self) -> None:
        """Give the turn to the next person and group; all stay in line. Raises IndexError when empty."""
        item = self.peek()
        if item is None:
            raise IndexError("nothing waits")
        where, who = self._places[item]
        self._groups[where].move_to_end(who)
        self._groups.move_to_end(where)

    def pop(self) -> T:
        """Take the next item; its person and group go behind all others. Raises IndexError when empty."""
        item = self.peek()
        self.skip()
        assert item is not None
        self.remove(item)
        return item

    def remove(self, item: T) -> bool:
        """Take an item out of the line, wherever it stands; false when it isn't there."""
        place = self._places.pop(item, None)
        if place is None:
            return False
        where, who = place
        persons = self._groups[where]
        del persons[who][item]
        if not persons[who]:
            del persons[who]
        if not persons:
            del self._groups[where]
        _less(self._of_person, who)
        _less(self._of_group, where)
        self.changes += 1
        return True

    def __iter__(self) -> Iterator[T]:
        """Yield items in the order in which they would be taken."""
        return _in_turns(_in_turns(persons.values()) for persons in self._groups.values())


def _in_turns(lines: Iterable[Iterable[T]]) -> Iterator[T]:
    waiting = deque(map(iter, lines))
    while waiting:
        line = waiting.popleft()
        for item in line:
            yield item
            waiting.append(line)
            break


def _less(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]


def _named(person: str) -> str:
    return f"@{person}"


def _group(group: str) -> str:
    return f"&{group}"
