"""The waiting line: whose turn it is, against a plain model of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.fairqueue import FairQueue

Who = tuple[str | None, str | None]
WHO = st.tuples(st.sampled_from([None, "a", "b", "c", "d"]), st.sampled_from([None, "x", "y"]))


def _group(who: Who, item: int) -> str:
    return f"&{who[1]}" if who[1] else _person(who, item)


def _person(who: Who, item: int) -> str:
    return f"@{who[0]}" if who[0] else f"#{item}"


@given(st.lists(st.one_of(WHO, st.just("pop"), st.just("skip"), st.integers(0, 30)), max_size=60))
def test_it_holds_what_came_in_until_it_goes(moves: list[object]) -> None:
    line: FairQueue[int] = FairQueue()
    inside: dict[int, Who] = {}
    for item, move in enumerate(moves):
        match move:
            case (person, group):
                line.push(person, item, group)
                inside[item] = (person, group)
            case "pop" if inside:
                first = line.peek()
                assert line.pop() == first
                del inside[first]  # type: ignore[arg-type]
            case "skip" if inside:
                line.skip()
            case int():
                assert line.remove(move) == (inside.pop(move, None) is not None)
        assert len(line) == len(inside)
        assert sorted(line) == sorted(inside)
        assert all(line.of(name) == sum(who[0] == name for who in inside.values()) for name in "abcd")
        assert all(line.of_group(name) == sum(who[1] == name for who in inside.values()) for name in "xy")


@given(st.lists(WHO, min_size=1, max_size=40))
def test_turns_go_round_over_groups_and_over_persons_in_them(arrivals: list[Who]) -> None:
    line: FairQueue[int] = FairQueue()
    for item, (person, group) in enumerate(arrivals):
        line.push(person, item, group)
    expected = list(line)
    taken = [line.pop() for _ in arrivals]
    assert taken == expected
    assert (line.peek(), len(line)) == (None, 0)
    groups = [_group(arrivals[item], item) for item in taken]
    _assert_turns(groups)
    for group in groups:
        members = [item for item in taken if _group(arrivals[item], item) == group]
        _assert_turns([_person(arrivals[item], item) for item in members])


def _assert_turns(keys: Sequence[str]) -> None:
    """Between two turns of one, everybody who waits still has had just one."""
    for place, key in enumerate(keys):
        if key in keys[place + 1 :]:
            again = keys.index(key, place + 1)
            between = Counter(keys[place + 1 : again])
            assert all(between[other] == 1 for other in set(keys[again:]) - {key})


def test_a_person_comes_in_order() -> None:
    line: FairQueue[str] = FairQueue()
    for item in ("1", "2", "3"):
        line.push("a", item)
    assert [line.pop() for _ in range(3)] == ["1", "2", "3"]


def test_nothing_to_take() -> None:
    line: FairQueue[str] = FairQueue()
    for take in (line.pop, line.skip):
        with pytest.raises(IndexError):
            take()
