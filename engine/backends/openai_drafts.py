"""Drafts written in legs: a completion server takes one bias a call, so a call ends when that must change.

A leg ends when a missing word was met (its bias has to go, and a few tokens without any follow, so that words
don't come as a list), or after some tokens (the bias has to rise). The end is held back while words are
missing. What counts as met is the guide's to say. Knows guides, legs and answers; nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from engine.backends.base import TellingGuide, WholeJob
from engine.backends.openai_calls import Caller, Choices
from engine.backends.openai_identity import Identity
from engine.backends.openai_prompts import TextForm, whole_words
from engine.backends.openai_pushes import LATE_START, Push, WordPushes, completed
from engine.backends.openai_wire import TRANSFORMERS, Choice, Leg
from engine.errors import EngineError
from engine.guiding import GIVE_UP, MAX_TITLE_TOKENS
from engine.jobs import End, Guide, RowPlan, RowResult
from engine.lexicon import used_words

LEG_TOKENS = 16
# Tokens without bias after a word was met.
REST_TOKENS = 5
MAX_LEGS = 100
MAX_STALLED = 2


@dataclass
class _Row:
    plan: RowPlan
    result: RowResult
    guide: Guide | None
    written: str = ""
    """The tokens as text, control tokens included."""
    legs: int = 0
    stalled: int = 0
    resting: bool = False
    over: bool = False

    @property
    def teller(self) -> TellingGuide | None:
        """The guide of a story; None for a plain text, with or without a guide."""
        return self.guide if isinstance(self.guide, TellingGuide) else None

    @property
    def missing(self) -> list[str]:
        return self.teller.missing if self.teller else []

    @property
    def title_end(self) -> int | None:
        return self.teller.title_end if self.teller else None

    @property
    def share(self) -> float:
        return self.teller.share if self.teller else 0.0

    @property
    def fixed_push(self) -> Push:
        """What a plain text's guide adds from its first token to its last."""
        bias = self.guide.bias() if self.guide and not self.teller else None
        if bias is None:
            return {}
        return {(int(token),): float(value) for token, value in zip(bias.ids, bias.values, strict=True)}

    def end(self, how: End) -> None:
        self.result.end, self.over = how, True


class _Follower:
    """Reads the tokens of a leg up to where it ends: a word met under a push, the title's end, the text's."""

    def __init__(self, row: _Row, leg: Leg, end_ids: frozenset[int]) -> None:
        self._guide = row.guide.fork() if row.guide else None
        self._ends = end_ids
        self._title_end = row.title_end if leg.stop else None
        self._missing = len(row.missing) if leg.push else 0
        self.kept = 0
        self.met = self.done = False
        self.end: End | None = None

    def read(self, tokens: Iterable[int]) -> None:
        """Take more tokens; `done` is true once the leg is over, `kept` counts the tokens up to there."""
        for token in tokens:
            if self.done:
                return
            self.kept += 1
            if token in self._ends:
                self.end = End.TOKEN
            elif self._guide is not None:
                if self._guide.observe(token):
                    self.end = End.GUIDE
                self.met = isinstance(self._guide, TellingGuide) and len(self._guide.missing) < self._missing
            self.done = self.met or self.end is not None or token == self._title_end


class Drafts:
    """Writes the drafts of one job through one server. `encode` turns a form with its space into tokens."""

    def __init__(
        self,
        job: WholeJob,
        caller: Caller,
        form: TextForm,
        controls: frozenset[int],
        encode: Callable[[str], Sequence[int]],
    ) -> None:
        self._job, self._caller, self._form = job, caller, form
        self._controls = controls
        self._pushes = WordPushes(encode)

    async def write(self) -> list[RowResult]:
        """Return the drafts that came to an end. Raises EngineError when none did."""
        rows = [_Row(plan, RowResult(index), plan.guide) for index, plan in enumerate(self._job.plans)]
        identity = await self._caller.identity()
        if len(rows) > 1 and self._caller.gives_choices(identity):
            await self._leg(rows, identity)
        ends = await asyncio.gather(*(self._finish(row) for row in rows), return_exceptions=True)
        failed = [end for end in ends if isinstance(end, BaseException)]
        if len(failed) == len(rows):
            raise failed[0]
        unexpected = [end for end in failed if not isinstance(end, EngineError)]
        if unexpected:
            raise unexpected[0]
        return [row.result for row, end in zip(rows, ends, strict=True) if end is None]

    async def _finish(self, row: _Row) -> None:
        while not row.over:
            identity = await self._caller.identity()
            await self._leg([row], identity)

    async def _leg(self, rows: Sequence[_Row], identity: Identity) -> None:
        """Write the next leg of rows that stand at the same place."""
        first = rows[0]
        leg = self._plan(first, len(rows), ids_told=self._caller.tells_ids(identity))
        followers = [_Follower(row, leg, self._job.end_ids) for row in rows]
        seen = [0] * len(rows)

        def watch(choices: Choices) -> bool:
            """End the call once every text has come to where its leg ends, where tokens are told."""
            for index, choice in choices.items():
                ids = choice.ids or ()
                followers[index].read(ids[seen[index] :])
                seen[index] = len(ids)
            return all(follower.done for follower in followers)

        found = await self._caller.ask(leg, watch)
        for row, choice in zip(rows, found, strict=False):
            self._take(row, leg, choice, identity)

    def _plan(self, row: _Row, choices: int, *, ids_told: bool) -> Leg:
        """Decide on the next call."""
        missing, title_end = row.missing, row.title_end
        room = self._job.max_new_tokens - len(row.result.tokens)
        ends, held, stop = self._job.end_ids, False, None
        push = row.fixed_push
        if title_end is not None and (missing or not ids_told):
            room, held = min(room, MAX_TITLE_TOKENS + 1), True
            ends, stop = frozenset({title_end}), self._form.token(title_end)
        elif missing and row.share < GIVE_UP:
            room, held = min(room, REST_TOKENS if row.resting else LEG_TOKENS), True
            push = {} if row.resting else self._pushes.at(row.share, missing)
        allowed = frozenset() if held else self._job.end_ids
        allowed |= {title_end} if title_end is not None else frozenset()
        row.legs += 1
        return Leg(
            prompt=tuple(self._job.prompt),
            written=tuple(row.result.tokens),
            written_text=row.written,
            max_tokens=room,
            seed=_seed(row.plan.seed, row.plan.stream, row.legs),
            settings=row.plan.settings,
            ends=ends,
            banned=(self._controls | self._job.end_ids) - allowed,
            push=push,
            stop=stop,
            choices=choices,
        )

    def _take(self, row: _Row, leg: Leg, choice: Choice, identity: Identity) -> None:
        """Add to a row what of an answer is of use."""
        if choice.ids is None and row.title_end is not None and not leg.stop:
            row.stalled += 1  # title and text can't be told apart in this
            return
        tokens = self._tokens(row, leg, choice)
        if identity.dialect is not TRANSFORMERS and row.share > LATE_START:
            tokens = completed(tokens, leg.push)
        follower = _Follower(row, leg, self._job.end_ids)
        follower.read(tokens)
        kept = tokens[: follower.kept]
        # What shows that a word is whole was drawn under its push, and may be the same word again.
        if follower.met and follower.end is None and self._has_letters(kept[-1]):
            kept.pop()
        if leg.stop and row.title_end not in kept:
            kept = self._closed_title(row, leg, choice, kept)
        self._observe(row, kept)
        text = self._grow(row, choice, kept)
        at_end = not leg.stop and bool(used_words(row.missing, text)[0])
        row.resting = bool(row.missing) and (follower.met or at_end)
        row.stalled = 0 if kept else row.stalled + 1
        if follower.end is not None:
            row.end(follower.end)
        elif self._is_full(row, leg) and not follower.done:
            row.end(End.LENGTH)

    def _closed_title(self, row: _Row, leg: Leg, choice: Choice, kept: list[int]) -> list[int]:
        """Let the text begin after a title that has no end; where the server hides the end there is none."""
        assert row.title_end is not None
        if choice.ids is None and leg.max_tokens > MAX_TITLE_TOKENS:
            self._caller.say_once("the completion server does not tell titles from texts")
            kept = []
        return [*kept, row.title_end]

    def _observe(self, row: _Row, tokens: Iterable[int]) -> None:
        for token in tokens:
            if row.guide is not None and token not in self._job.end_ids:
                row.guide.observe(token)

    def _has_letters(self, token: int) -> bool:
        return any(character.isalnum() for character in self._form.text([token]))

    def _tokens(self, row: _Row, leg: Leg, choice: Choice) -> list[int]:
        """Return the tokens of an answer; the one that ended it, if any, stands last."""
        if choice.ids is not None:
            tokens = list(choice.ids)
        else:
            goes_on = choice.finish == "length" and leg.max_tokens < self._room(row)
            text = whole_words(choice.text) if goes_on and not leg.stop else choice.text
            tokens = self._form.ids(text.rstrip() if leg.stop else text)
        # A server that met its limit together with an end says either.
        if choice.finish == "stop" and leg.ends and not leg.ends.intersection(tokens[-1:]):
            tokens.append(min(leg.ends))
        return tokens

    def _grow(self, row: _Row, choice: Choice, kept: list[int]) -> str:
        """Add tokens to a row and return their text."""
        result = row.result
        result.first_token_at = result.first_token_at or time.monotonic()
        if choice.logprobs:
            known = choice.logprobs[: len(kept)]
            result.logprob += sum(known) * len(kept) / max(1, len(known))
        text = self._form.text(kept)
        if choice.text.startswith(" ") and text[:1].isalnum():
            text = f" {text}"  # some tokenizers drop the first space
        row.written += text
        # Two stretches joined may be other tokens than each alone.
        ids = [*result.tokens, *kept] if choice.ids is not None else self._form.ids(row.written)
        result.tokens[:] = ids
        return text

    def _room(self, row: _Row) -> int:
        return self._job.max_new_tokens - len(row.result.tokens)

    def _is_full(self, row: _Row, leg: Leg) -> bool:
        given_up = row.legs >= MAX_LEGS or row.stalled >= MAX_STALLED
        last = leg.max_tokens >= self._job.max_new_tokens - len(leg.written)
        return given_up or last or self._room(row) <= 0


def _seed(*parts: int) -> int:
    """Return a number of 31 bits that is the same for the same parts everywhere."""
    data = ",".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=4).digest(), "big") >> 1
