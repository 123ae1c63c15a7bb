"""Steering one row of a story: title first where the model writes one, words kept, a proper end.

The end token is held back while words are missing and favoured at sentence ends once the length is nearly
used up. Knows tokens, text and words; nothing of how a token is drawn or of prompts.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from engine.constraints import State, WordForms, WordKeeper
from engine.jobs import Bias, Dense
from engine.level_bias import LevelKeeper, LevelPlan
from engine.sentences import ends_properly
from engine.vocabulary import Vocabulary

Floats = npt.NDArray[np.float32]

MAX_TITLE_TOKENS = 20
# Shares of the length: from here a sentence end is favoured as the end …
WIND_DOWN = 0.75
WIND_DOWN_BIAS = 8.0
# … a sentence end is the end …
LAST_CALL = 0.92
# … and missing words no longer hold the end back.
GIVE_UP = 0.95
FORCE = 100.0
# Against letters after a whole form of a missing word: "wallet" is not to become "walletle".
LONGER = -8.0
# A text of one sentence is not over before so many words.
SENTENCE_MIN_WORDS = 4

NEVER = -np.inf


@dataclass(frozen=True)
class _Part:
    """A bias that may be used again; `pushed` is 1 for tokens that the keeper's push is added to, else 0."""

    still: Bias
    pushed: Floats | None

    @classmethod
    def of(cls, found: dict[int, float], pushed: Iterable[int]) -> _Part:
        still = Bias(
            np.fromiter(found, np.int64, len(found)), np.fromiter(found.values(), np.float32, len(found))
        )
        raised = set(pushed)
        which = [float(token in raised and value > LONGER) for token, value in found.items()]
        return cls(still, np.array(which, dtype=np.float32) if any(which) else None)

    def at(self, push: float, dense: Dense | None = None) -> Bias:
        if self.pushed is not None:
            return Bias(self.still.ids, self.still.values + self.pushed * np.float32(push), dense)
        return self.still if dense is None else Bias(self.still.ids, self.still.values, dense)


@dataclass(frozen=True)
class StoryPlan:
    """What the rows of one request share.

    `title_end` is the token between title and text, if any; `max_new_tokens` counts the text alone.
    """

    vocabulary: Vocabulary
    words: WordForms
    end_ids: frozenset[int]
    banned: frozenset[int]
    title_end: int | None
    max_new_tokens: int
    opening: str = ""
    one_sentence: bool = False
    hold_end: bool = True
    level: LevelPlan | None = None
    parts: dict[Hashable, _Part] = field(default_factory=dict, compare=False)
    """Biases already put together, by what they depend on."""


class StoryGuide:
    """The guide of one row; see `engine.jobs.Guide`."""

    def __init__(self, plan: StoryPlan) -> None:
        self._plan = plan
        self._keeper = WordKeeper(plan.words, plan.opening)
        self._level = LevelKeeper(plan.level) if plan.level else None
        self._in_title = plan.title_end is not None
        self._count = 0
        self._title_tokens = 0
        self._cut = b""
        self._text = plan.opening
        self._at_end = ends_properly(plan.opening)

    @property
    def missing(self) -> list[str]:
        """Words not yet in the text."""
        return self._keeper.missing

    @property
    def title_end(self) -> int | None:
        """Token that ends the title being written; None once the text has begun."""
        return self._plan.title_end if self._in_title else None

    @property
    def share(self) -> float:
        """Share of the text's length that is used up, 0 … 1."""
        return self._share

    def fork(self) -> StoryGuide:
        """Return an independent copy."""
        twin = StoryGuide.__new__(StoryGuide)
        twin.__dict__.update(self.__dict__)
        twin._keeper = self._keeper.fork()
        twin._level = self._level.fork() if self._level else None
        return twin

    def bias(self) -> Bias | None:
        """Return what to add to the row's next logits."""
        if self._in_title:
            stage = "first" if self._count == 0 else "last" if self._count >= MAX_TITLE_TOKENS else "title"
            return self._part(stage, self._title_bias).at(0.0)
        share = self._share
        push = self._keeper.push(share)
        state = self._keeper.state(push)
        held = self._held(share)
        part = self._part((state, held), lambda: self._text_bias(state, held))
        bias = part.at(push, self._level.dense if self._level else None)
        if held or not self._at_end or share <= WIND_DOWN:
            return bias
        ending = WIND_DOWN_BIAS * (share - WIND_DOWN) / (1 - WIND_DOWN)
        ends = np.array(sorted(self._plan.end_ids), dtype=np.int64)
        return Bias(
            np.concatenate([bias.ids, ends]),
            np.concatenate([bias.values, np.full(len(ends), ending, dtype=np.float32)]),
            bias.dense,
        )

    def observe(self, token: int) -> bool:
        """Take note of the token drawn; true ends the row."""
        self._count += 1
        if self._in_title:
            self._in_title = token != self._plan.title_end
            self._title_tokens = self._count
            return False
        if self._level:
            self._level.observe(token)
        grown = self._string(token)
        before = self._text
        self._text += grown
        self._keeper.observe(token, before, self._text)
        if grown:
            self._at_end = ends_properly(self._text)
        return self._share >= 1 or (self._at_end and self._is_over())

    def _string(self, token: int) -> str:
        """Return what a token adds to the text; half a character waits for its other half."""
        whole = self._plan.vocabulary.string(token)
        if whole is not None and not self._cut:
            return whole
        data = self._cut + self._plan.vocabulary.piece(token)
        decoder = getincrementaldecoder("utf-8")(errors="ignore")
        text = decoder.decode(data)
        self._cut = decoder.getstate()[0]
        return text

    @property
    def _share(self) -> float:
        return (self._count - self._title_tokens) / self._plan.max_new_tokens

    def _is_over(self) -> bool:
        if not self._keeper.complete:
            return self._share >= GIVE_UP
        if self._plan.one_sentence:
            return len(self._text.split()) >= SENTENCE_MIN_WORDS
        return self._share >= LAST_CALL

    def _held(self, share: float) -> bool:
        """Whether the text may not end here: a word is missing, or nothing is written yet."""
        missing = self._plan.hold_end and not self._keeper.complete
        held = missing and not (self._at_end and share >= GIVE_UP)
        return held or self._count == self._title_tokens

    def _part(self, key: Hashable, make: Callable[[], tuple[dict[int, float], Iterable[int]]]) -> _Part:
        part = self._plan.parts.get(key)
        if part is None:
            part = self._plan.parts[key] = _Part.of(*make())
        return part

    def _never(self) -> dict[int, float]:
        ends = set(self._plan.end_ids) | {self._plan.title_end}
        return {token: NEVER for token in self._plan.banned if token not in ends}

    def _title_bias(self) -> tuple[dict[int, float], Iterable[int]]:
        """Return the bias within a title: it is not empty and ends in time."""
        found = self._never() | dict.fromkeys(self._plan.end_ids, NEVER)
        title_end = self._plan.title_end
        assert title_end is not None
        if self._count == 0:
            found[title_end] = NEVER
        elif self._count >= MAX_TITLE_TOKENS:
            found[title_end] = FORCE
        return found, ()

    def _text_bias(self, state: State | None, held: bool) -> tuple[dict[int, float], Iterable[int]]:
        """Return the bias within the text, and which of its tokens are pushed on top of it."""
        found = self._never()
        pushed: dict[int, float] = {}
        if state is not None:
            pushed = self._keeper.favoured(state)
            found.update(pushed)
            longer = self._keeper.going_on(state)
            if longer is not None:
                letters = (token for token in self._plan.vocabulary.letters if token not in longer)
                found.update(dict.fromkeys(letters, LONGER))
        if self._plan.title_end is not None:
            found[self._plan.title_end] = NEVER
        if held:
            found.update(dict.fromkeys(self._plan.end_ids, NEVER))
        return found, pushed
