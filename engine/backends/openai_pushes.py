"""What a completion server is asked to favour, so that missing words come: values for sequences of tokens.

Knows the forms of words and their tokens; knows nothing of servers or drafts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from engine.lexicon import forms

# Nats toward the first token of a missing word's form: at the start, from RAMP of the length on …
PUSH_LOW = 3.0
PUSH_HIGH = 10.0
RAMP = 0.4
# … and on top between these shares, for words that the model would never come to.
LATE_START = 0.6
LATE_END = 0.85
LATE_PUSH = 14.0
# On top for the next token within a form, where a server can do that.
INSIDE_PUSH = 6.0
# Less for a form with a capital, which can't stand everywhere.
CAPITAL_LESS = 4.0

Push = Mapping[tuple[int, ...], float]


class WordPushes:
    """The pushes of one job. `encode` turns a form with a space before it into tokens."""

    def __init__(self, encode: Callable[[str], Sequence[int]]) -> None:
        self._encode = encode
        self._forms: dict[str, dict[tuple[int, ...], float]] = {}

    def at(self, share: float, missing: Iterable[str]) -> Push:
        """Return nats for the last token of each sequence when `share` of the length, 0 … 1, is used up."""
        late = min(1.0, max(0.0, (share - LATE_START) / (LATE_END - LATE_START)))
        value = PUSH_LOW + (PUSH_HIGH - PUSH_LOW) * min(1.0, share / RAMP) + LATE_PUSH * late
        found: dict[tuple[int, ...], float] = {}
        for word in missing:
            whole = self._forms_of(word)
            for ids, less in whole.items():
                # What follows a whole form is left alone: "cat" needn't become "cats".
                end = next((length for length in range(1, len(ids)) if ids[:length] in whole), len(ids))
                for length in range(1, end + 1):
                    push = value - less + (INSIDE_PUSH if length > 1 else 0.0)
                    found[ids[:length]] = max(push, found.get(ids[:length], 0.0))
        return found

    def _forms_of(self, word: str) -> dict[tuple[int, ...], float]:
        """Return the token sequences of a word's forms, and how much less each is pushed."""
        if word not in self._forms:
            found: dict[tuple[int, ...], float] = {}
            for form in forms(word):
                capital = form[:1].upper() + form[1:]
                found.setdefault(tuple(self._encode(f" {form}")), 0.0)
                found.setdefault(tuple(self._encode(f" {capital}")), CAPITAL_LESS)
            found.pop((), None)
            self._forms[word] = found
        return self._forms[word]


def completed(tokens: Sequence[int], push: Push) -> list[int]:
    """Return `tokens` up to the first begun form of several tokens, and that form whole.

    For servers that push first tokens only, late in a text: the token stands there for the form's sake.
    """
    whole = [ids for ids in push if len(ids) > 1 and not _leads_on(ids, push)]
    for at, token in enumerate(tokens):
        begun = [ids for ids in whole if ids[0] == token]
        rest = tuple(tokens[at:])
        if begun and not any(rest[: len(ids)] == ids for ids in begun):
            best = max(begun, key=lambda ids: (_shared(ids, rest), -len(ids)))
            return [*tokens[:at], *best]
    return list(tokens)


def _leads_on(ids: tuple[int, ...], push: Push) -> bool:
    """Whether a longer pushed sequence begins with `ids`."""
    return any(len(other) > len(ids) and other[: len(ids)] == ids for other in push)


def _shared(a: Sequence[int], b: Sequence[int]) -> int:
    """Return the length of what two sequences begin with in common."""
    return next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
