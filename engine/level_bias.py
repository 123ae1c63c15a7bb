"""Keeping a text within a level: words above it are made less likely at the token that decides for them.

All forms up to the level stand in a trie of tokens. The token after which no such word is left costs
STRENGTH nats, once; what follows is free, so that no word is broken off half-way. Only lower-case words
are looked at: a capital may be a name's. Knows tokens and the lexicon's graded words; nothing of models.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
import numpy.typing as npt

from engine.jobs import Dense
from engine.lexicon import forms, graded_words
from engine.schema import Level
from engine.vocabulary import Vocabulary

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
NONE: Ints = np.empty(0, dtype=np.int64)
EncodeAll = Callable[[Sequence[str]], Sequence[Sequence[int]]]

# Nats off the token that leaves the level (docs/word-keeping.md says what other values bring).
STRENGTH = 2.5

NEVER = 99
# Vocabularies whose gradings are kept, 9 MB each.
MOST_GRADINGS = 2
_START = re.compile(rb" [a-z]+")
_INSIDE = re.compile(rb"[a-z]+")
_LETTERS = re.compile(r"[a-z]+")


class _Node:
    """A place in the trie; `low` is the lowest level of a word here or below, 1 = A1."""

    __slots__ = ("children", "low")

    def __init__(self) -> None:
        self.children: dict[int, _Node] | None = None
        self.low = NEVER

    def insert(self, ids: Iterable[int], level: int) -> None:
        node = self
        for token in ids:
            if node.children is None:
                node.children = {}
            node = node.children.setdefault(token, _Node())
            node.low = min(node.low, level)

    def within(self, level: int) -> list[int]:
        """Return the tokens that lead on to a word of this level or below."""
        return [token for token, child in (self.children or {}).items() if child.low <= level]


class Grading:
    """The graded words in the tokens of one vocabulary; `encode` takes words with a space before each."""

    def __init__(self, vocabulary: Vocabulary, encode: EncodeAll) -> None:
        self.size = len(vocabulary)
        self.root = _Node()
        words = graded_words()
        for ids, level in zip(encode([f" {word}" for word in words]), words.values(), strict=True):
            self.root.insert(ids, level)
        pieces = [vocabulary.piece(token) for token in range(self.size)]
        self.starts = frozenset(token for token, piece in enumerate(pieces) if _START.fullmatch(piece))
        self.inside = frozenset(token for token, piece in enumerate(pieces) if _INSIDE.fullmatch(piece))
        self._between: dict[int, Floats] = {}

    def between(self, level: int) -> Floats:
        """Return the bias of a level where no word has begun; not to be changed."""
        found = self._between.get(level)
        if found is None:
            found = np.zeros(self.size, dtype=np.float32)
            found[list(self.starts)] = -STRENGTH
            found[self.root.within(level)] = 0.0
            self._between[level] = found
        return found


_gradings: dict[int, Grading] = {}
_lock = Lock()


def grading_of(vocabulary: Vocabulary, encode: EncodeAll) -> Grading:
    """Return the vocabulary's grading, made at the first call (half a second).

    Models of equal vocabularies share one: a new version of a model has it at once, and the tokenizers
    library does not give back the memory in which it keeps the words it has seen.
    """
    with _lock:
        found = _gradings.get(vocabulary.fingerprint)
        if found is None:
            if len(_gradings) == MOST_GRADINGS:
                del _gradings[next(iter(_gradings))]
            found = _gradings[vocabulary.fingerprint] = Grading(vocabulary, encode)
        return found


@dataclass(frozen=True, eq=False)
class LevelPlan:
    """What the rows of one request share: its level and the tokens of the words that it may use all the same.

    `between` is the bias where no word has begun; `within` the one inside a word that nothing can follow.
    """

    grading: Grading
    level: int
    exempt: _Node
    between: Dense
    within: Floats
    allowed: dict[tuple[_Node, ...], Dense] = field(default_factory=dict)

    @classmethod
    def of(
        cls, level: Level, vocabulary: Vocabulary, encode: EncodeAll, words: Sequence[str], opening: str = ""
    ) -> LevelPlan:
        """Return the plan of a request for `level` with these words and this opening."""
        grading = grading_of(vocabulary, encode)
        number = [*Level].index(level) + 1
        exempt = _Node()
        known = {part for word in words for form in forms(word) for part in _LETTERS.findall(form.lower())}
        known.update(_LETTERS.findall(opening.lower()))
        for ids in encode([f" {word}" for word in sorted(known)]):
            exempt.insert(ids, number)
        between = grading.between(number).copy()
        between[exempt.within(number)] = 0.0
        within = between.copy()
        within[list(grading.inside)] = -STRENGTH
        return cls(grading, number, exempt, Dense(between, NONE), within)

    def after(self, nodes: tuple[_Node, ...]) -> Dense:
        """Return the bias inside a word that still is within the level."""
        found = self.allowed.get(nodes)
        if found is None:
            ids = {token for node in nodes for token in node.within(self.level)}
            spared = np.fromiter(ids, dtype=np.int64, count=len(ids)) if ids else NONE
            found = self.allowed[nodes] = Dense(self.within, spared)
        return found


class LevelKeeper:
    """Follows one row; `dense` is what to add to its next logits."""

    def __init__(self, plan: LevelPlan) -> None:
        self._plan = plan
        self._nodes: tuple[_Node, ...] = ()

    def fork(self) -> LevelKeeper:
        """Return an independent copy."""
        twin = LevelKeeper(self._plan)
        twin._nodes = self._nodes
        return twin

    @property
    def dense(self) -> Dense:
        """Bias of every token."""
        return self._plan.after(self._nodes) if self._nodes else self._plan.between

    def observe(self, token: int) -> None:
        """Take note of the token drawn."""
        plan = self._plan
        if token in plan.grading.starts:
            before: tuple[_Node, ...] = (plan.grading.root, plan.exempt)
        elif self._nodes and token in plan.grading.inside:
            before = self._nodes
        else:
            self._nodes = ()
            return
        reached = [node.children[token] for node in before if node.children and token in node.children]
        self._nodes = tuple([node for node in reached if node.low <= plan.level])
