"""Steering one row of a story: title first where the model writes one, words kept, a proper end.

The end token is held back while words are missing and favoured at sentence ends once the length is nearly
used up. Knows tokens, text and words; nothing of how a token is drawn or of prompts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.constraints import WordForms, WordKeeper
from engine.jobs import Bias
from engine.sentences import ends_properly
from engine.vocabulary import Vocabulary

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


class StoryGuide:
    """The guide of one row; see `engine.jobs.Guide`."""

    def __init__(self, plan: StoryPlan) -> None:
        self._plan = plan
        self._keeper = WordKeeper(plan.words, plan.opening)
        self._in_title = plan.title_end is not None
        self._count = 0
        self._title_tokens = 0
        self._bytes = b""
        self._text = plan.opening
        self._at_end = ends_properly(plan.opening)
        ends = plan.end_ids if plan.title_end is None else plan.end_ids | {plan.title_end}
        self._banned = {token: NEVER for token in plan.banned - ends}

    @property
    def missing(self) -> list[str]:
        """Words not yet in the text."""
        return self._keeper.missing

    def fork(self) -> StoryGuide:
        """Return an independent copy."""
        twin = StoryGuide.__new__(StoryGuide)
        twin.__dict__.update(self.__dict__)
        twin._keeper = self._keeper.fork()
        return twin

    def bias(self) -> Bias | None:
        """Return what to add to the row's next logits."""
        found: dict[int, float] = dict(self._banned)
        if self._in_title:
            self._title_bias(found)
        else:
            share = self._share
            found.update(self._keeper.bias(share))
            longer = self._keeper.going_on()
            if longer is not None:
                found.update(
                    (token, LONGER) for token in self._plan.vocabulary.letters if token not in longer
                )
            self._end_bias(found, share)
        if not found:
            return None
        size = len(found)
        return Bias(np.fromiter(found.keys(), np.int64, size), np.fromiter(found.values(), np.float32, size))

    def observe(self, token: int) -> bool:
        """Take note of the token drawn; true ends the row."""
        self._count += 1
        if self._in_title:
            self._in_title = token != self._plan.title_end
            self._title_tokens = self._count
            return False
        before = self._text
        self._bytes += self._plan.vocabulary.piece(token)
        self._text = self._plan.opening + self._bytes.decode("utf-8", errors="ignore")
        self._keeper.observe(token, before, self._text)
        self._at_end = ends_properly(self._text)
        return self._share >= 1 or (self._at_end and self._is_over())

    @property
    def _share(self) -> float:
        return (self._count - self._title_tokens) / self._plan.max_new_tokens

    def _is_over(self) -> bool:
        if not self._keeper.complete:
            return self._share >= GIVE_UP
        if self._plan.one_sentence:
            return len(self._text.split()) >= SENTENCE_MIN_WORDS
        return self._share >= LAST_CALL

    def _title_bias(self, found: dict[int, float]) -> None:
        title_end = self._plan.title_end
        assert title_end is not None
        found.update(dict.fromkeys(self._plan.end_ids, NEVER))
        if self._count == 0:
            found[title_end] = NEVER
        elif self._count >= MAX_TITLE_TOKENS:
            found[title_end] = FORCE

    def _end_bias(self, found: dict[int, float], share: float) -> None:
        if self._plan.title_end is not None:
            found[self._plan.title_end] = NEVER
        held = not self._keeper.complete and not (self._at_end and share >= GIVE_UP)
        started = self._count > self._title_tokens
        if held or not started:
            found.update(dict.fromkeys(self._plan.end_ids, NEVER))
        elif self._at_end and share > WIND_DOWN:
            push = WIND_DOWN_BIAS * (share - WIND_DOWN) / (1 - WIND_DOWN)
            found.update(dict.fromkeys(self._plan.end_ids, push))
