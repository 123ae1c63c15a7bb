"""Keeping the required words: which tokens lead to a form of a missing word, and which words are there.

Biases are sparse and rise with the share of the length that is used up; inside a form its next tokens are
favoured strongly. What counts as used is decided on the text by the lexicon, never on tokens. Knows tokens
and words; nothing of models, prompts or how a token is drawn.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from engine.lexicon import forms, is_name, used_words

# Bias in nats toward the first token of a missing word: at first, when the model may come to it by itself,
# and when it is overdue.
FIRST_BIAS_LOW = 0.0
FIRST_BIAS_HIGH = 8.0
# Added on top from this share of the length on, for words so rare that the model would never come to them.
LATE_SHARE = 0.7
LATE_RAMP = 0.2
LATE_BIAS = 14.0
# Added once inside a form.
INSIDE_BIAS = 6.0
# Share of the length by which the last of the words should stand, and over which a bias rises.
LAST_WORD_DUE = 0.28
RAMP_SHARE = 0.38
# Less for a common word at the start of a sentence or of speech, where few of them can stand.
START_LESS = 4.0
# Tokens after a met word during which no other is pushed, so that words don't come as a list.
REST_TOKENS = 4

_LAST_WORD = re.compile(r"\w(?:[\w'’-]*\w)?(?=\W*$)")
_OPEN_QUOTE = re.compile(r"(?:^|[\s(—-])[\"“'‘]$")
_SENTENCE_START = re.compile(r"(?:^|[.!?…][\"”'’)]*)\s*$")


@dataclass(eq=False)
class _Node:
    children: dict[int, _Node] = field(default_factory=dict)
    below: int = 0
    """Bit set of the words with a form on or under this node."""
    here: int = 0
    """Bit set of the words with a form that ends here."""


class WordForms:
    """The token tries of one request's words; shared by its rows, never changed."""

    def __init__(self, words: Sequence[str], encode: Callable[[str], Sequence[int]]) -> None:
        self.words = tuple(words)
        self.inside, self.opening, self.glued = _Node(), _Node(), _Node()
        self.names = sum(1 << bit for bit, word in enumerate(self.words) if is_name(word))
        self._last_words: set[str] = set()
        self._unspaced: list[str] = []
        for bit, word in enumerate(self.words):
            for form in forms(word):
                capital = form[:1].upper() + form[1:]
                _insert(self.inside, encode(" " + form), 1 << bit)
                _insert(self.opening, encode(" " + capital), 1 << bit)
                _insert(self.glued, encode(capital), 1 << bit)
                self._note_ending(form)

    def _note_ending(self, form: str) -> None:
        last = _LAST_WORD.search(form)
        if last is None or not form.isascii():
            self._unspaced.append(form)
        else:
            self._last_words.add(last.group().lower())

    def may_complete(self, text: str) -> bool:
        """Whether a form may just have been completed at the end of `text`; cheap, may be wrong with yes."""
        if self._unspaced and any(form[-1:] in text[-16:] for form in self._unspaced):
            return True
        chunk = text[-60:].rsplit(None, 1)
        last = _LAST_WORD.search(chunk[-1]) if chunk else None
        if last is None:
            # Only signs stand behind the last white space.
            last = _LAST_WORD.search(text[-60:])
        if last is None:
            return False
        word = last.group().lower().replace("’", "'")
        return word in self._last_words or bool(self._last_words.intersection(re.split(r"['-]", word)))


def _insert(root: _Node, ids: Iterable[int], bit: int) -> None:
    node = root
    node.below |= bit
    for token in ids:
        node = node.children.setdefault(token, _Node())
        node.below |= bit
    if node is not root:
        node.here |= bit


class State(NamedTuple):
    """What decides which tokens are favoured. `starts`: common words may start a sentence by now."""

    missing: int
    roots: tuple[_Node, ...]
    active: tuple[_Node, ...]
    starts: bool


class WordKeeper:
    """Follows one row: which words are missing and what would bring them."""

    def __init__(self, forms_of: WordForms, text: str = "") -> None:
        self._forms = forms_of
        self._missing = (1 << len(forms_of.words)) - 1
        self._active: list[_Node] = []
        self._rest = 0
        self._inside = (forms_of.inside,)
        self._roots = self._fitting(text)
        if text:
            self._check(text)
            self._rest = 0

    @property
    def missing(self) -> list[str]:
        """Words not yet in the text, in the order asked."""
        return [word for bit, word in enumerate(self._forms.words) if self._missing >> bit & 1]

    @property
    def complete(self) -> bool:
        """Whether every word is in the text."""
        return not self._missing

    def fork(self) -> WordKeeper:
        """Return an independent copy."""
        twin = WordKeeper.__new__(WordKeeper)
        twin.__dict__.update(self.__dict__)
        return twin

    def observe(self, token: int, before: str, text: str) -> None:
        """Take note of a token that turned the text from `before` into `text`."""
        self._rest = max(0, self._rest - 1)
        if not self._missing:
            return
        nodes = [node.children[token] for node in self._active if token in node.children]
        nodes += [root.children[token] for root in self._roots if token in root.children]
        self._active = [node for node in nodes if node.below & self._missing]
        self._roots = self._fitting(text)
        grown = text[len(before) :]
        ended = grown and not _is_letter(grown[-1])
        broke = grown and not _is_letter(grown[0])
        if ended or broke:
            whole = text if ended else text[: len(before) + _word_start(grown)]
            if self._forms.may_complete(whole):
                self._check(whole)

    def state(self, push: float) -> State | None:
        """Return what decides which tokens are favoured under this push; None when none is."""
        if not self._missing:
            return None
        # A form that stands complete at the end may be the word: wait for what follows.
        complete = any(node.here & self._missing for node in self._active)
        roots = () if self._rest or complete else self._roots
        if not roots and not self._active:
            return None
        return State(self._missing, roots, tuple(self._active), push > START_LESS)

    def favoured(self, state: State) -> dict[int, float]:
        """Return which tokens are favoured, and by how much more than `push`."""
        out: dict[int, float] = {}
        names = state.missing & self._forms.names
        for root in state.roots:
            _favour(out, root, names, 0.0)
            inside = root is self._forms.inside
            if inside or state.starts:
                _favour(out, root, state.missing & ~names, 0.0 if inside else -START_LESS)
        for node in state.active:
            # A complete form is left alone: what follows must not be another letter.
            if not node.here & state.missing:
                _favour(out, node, state.missing, INSIDE_BIAS)
        return out

    def going_on(self, state: State) -> frozenset[int] | None:
        """Return the tokens that lead from a whole form at the end to a longer one, None without one."""
        if not any(node.here & state.missing for node in state.active):
            return None
        return frozenset(token for node in state.active for token in node.children)

    def close(self, text: str) -> None:
        """Look at the text once more; what stands at its very end counts too."""
        if self._missing:
            self._check(text)

    def push(self, share: float) -> float:
        """Return the bias in nats of a favoured token when `share` of the length, 0 … 1, is used up."""
        if not self._missing:
            return 0.0
        total = len(self._forms.words)
        met = total - self._missing.bit_count()
        due = LAST_WORD_DUE * (met + 0.5) / total
        late = (share - due) / RAMP_SHARE
        usual = FIRST_BIAS_LOW + (FIRST_BIAS_HIGH - FIRST_BIAS_LOW) * _within(late)
        return usual + LATE_BIAS * _within((share - LATE_SHARE) / LATE_RAMP)

    def _fitting(self, text: str) -> tuple[_Node, ...]:
        """Return the tries of what may stand next: within a sentence, at its start, after a quote."""
        if text[-1:].isalpha():
            return self._inside
        end = text[-8:]
        if _OPEN_QUOTE.search(end):
            return (self._forms.glued,)
        if _SENTENCE_START.search(end):
            return (self._forms.opening,) if text else (self._forms.opening, self._forms.glued)
        return () if end[-1].isspace() else self._inside

    def _check(self, text: str) -> None:
        _, missed = used_words(self.missing, text)
        still = set(missed)
        after = sum(1 << bit for bit, word in enumerate(self._forms.words) if word in still)
        if after & self._missing != self._missing:
            self._missing &= after
            self._rest = REST_TOKENS
            self._active = [node for node in self._active if node.below & self._missing]


def _favour(out: dict[int, float], node: _Node, missing: int, value: float) -> None:
    for token, child in node.children.items():
        if child.below & missing and value > out.get(token, -math.inf):
            out[token] = value


def _within(value: float) -> float:
    return min(1.0, max(0.0, value))


def _is_letter(character: str) -> bool:
    return character.isalnum() or character in "'’-"


def _word_start(grown: str) -> int:
    """Return the length of `grown` up to its last, unfinished word."""
    end = len(grown)
    while end and _is_letter(grown[end - 1]):
        end -= 1
    return end
