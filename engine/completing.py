"""Going on with a prompt in several choices: settings, stop texts, logit bias, text as it comes.

Knows models and lanes; knows nothing of stories or HTTP.
"""

from __future__ import annotations

import asyncio
import codecs
import copy
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from engine.authoring import Sink, finished
from engine.completions import Choice, CompletionRequest
from engine.errors import InvalidRequest
from engine.jobs import Bias, End, Finished, Job, RowPlan, RowResult, RowSettings
from engine.lane import Lane
from engine.loading import DEFAULT_CONTEXT, LoadedModel
from engine.telling import new_seed


@dataclass(frozen=True)
class Piece:
    """What a choice has grown by."""

    index: int
    text: str


@dataclass(frozen=True)
class Completed:
    """All choices are finished. Token counts leave out broken choices."""

    choices: list[Choice]
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class CompletionRun:
    """A completion under way, and the model that writes it."""

    model: str
    model_version: str
    events: AsyncGenerator[Piece | Completed, None]


class Text:
    """A choice's text while it grows token by token; ends before the first of `stops`.

    Fed by the decoding thread, read by another: `state` changes as a whole.
    """

    def __init__(self, piece: Callable[[int], bytes], stops: Sequence[str], *, stripped: bool) -> None:
        self.state: tuple[str, int] = ("", 0)
        """The text, and how many of its characters no stop text can take back."""
        self.stopped = False
        self._piece = piece
        self._stops = stops
        self._stripped = stripped
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, token: int, *, last: bool = False) -> bool:
        """Take a token; true once a stop text has come."""
        text = self.state[0] + self._decoder.decode(self._piece(token), last)
        if self._stripped:
            text = text.lstrip()
        ends = [found for found in (text.find(stop) for stop in self._stops) if found >= 0]
        self.stopped = bool(ends)
        if ends:
            text = text[: min(ends)]
        self.state = (text, len(text) if ends or last else len(text) - self._doubtful(text))
        return self.stopped

    def _doubtful(self, text: str) -> int:
        """Return how many characters at the end may be the beginning of a stop text."""
        longest = max(map(len, self._stops), default=1) - 1
        return next(
            (size for size in range(min(longest, len(text)), 0, -1) if self._may_begin(text[-size:])), 0
        )

    def _may_begin(self, end: str) -> bool:
        return any(stop.startswith(end) for stop in self._stops)


@dataclass
class _Guide:
    """Adds the request's bias to a row and ends it at a stop text."""

    text: Text
    fixed: Bias | None
    grown: Callable[[], object] | None

    def bias(self) -> Bias | None:
        return self.fixed

    def observe(self, token: int) -> bool:
        ended = self.text.feed(token)
        if self.grown is not None:
            self.grown()
        return ended

    def fork(self) -> _Guide:
        return _Guide(copy.deepcopy(self.text), self.fixed, None)


@dataclass
class Completing:
    """A completion request, ready to be decoded by `model`."""

    request: CompletionRequest
    model: LoadedModel
    prompt: list[int]
    max_new_tokens: int
    seed: int
    fixed: Bias | None
    shown: dict[int, int] = field(default_factory=dict)

    async def events(self, lane: Lane, deadline: float) -> AsyncGenerator[Piece | Completed, None]:
        """Yield pieces as they come when the request streams, and at last all of it. Raises EngineError."""
        grown = asyncio.Event()
        loop = asyncio.get_running_loop()
        texts = [self._text() for _ in range(self.request.choices)]
        wake = (lambda: loop.call_soon_threadsafe(grown.set)) if self.request.stream else None
        work = asyncio.create_task(finished(lane, lambda sink: self._job(texts, wake, deadline, sink)))
        try:
            while self.request.stream and not work.done():
                waiting = asyncio.create_task(grown.wait())
                await asyncio.wait({work, waiting}, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                grown.clear()
                for index, text in enumerate(texts):
                    if piece := self._news(index, *text.state):
                        yield piece
            done = self._completed(await work)
            for choice in done.choices if self.request.stream else ():
                if piece := self._news(choice.index, choice.text, len(choice.text)):
                    yield piece
            yield done
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    def _news(self, index: int, text: str, sure: int) -> Piece | None:
        before = self.shown.get(index, 0)
        if sure <= before:
            return None
        self.shown[index] = sure
        return Piece(index, text[before:sure])

    def _text(self) -> Text:
        prompt = self.request.text
        stripped = not prompt.strip() or prompt[-1].isspace()
        return Text(self.model.vocabulary.piece, self.request.stops, stripped=stripped)

    def _job(
        self, texts: Sequence[Text], wake: Callable[[], object] | None, deadline: float, sink: Sink
    ) -> Job:
        settings = RowSettings.of(self.request.decoding)

        def plan(index: int) -> RowPlan:
            return RowPlan(settings, self.seed, index, _Guide(texts[index], self.fixed, wake), self.prompt)

        return Job(
            backend=self.model.backend(),
            prompt=self.prompt,
            plan=plan,
            sink=sink,
            end_ids=self.model.end_ids,
            max_new_tokens=self.max_new_tokens,
            deadline=deadline,
            rows=self.request.choices,
            person=self.request.user,
        )

    def _completed(self, end: Finished) -> Completed:
        tokens = sum(len(row.tokens) for row in end.rows)
        return Completed([self._choice(row) for row in end.rows], len(self.prompt), tokens)

    def _choice(self, row: RowResult) -> Choice:
        text = self._text()
        for place, token in enumerate(row.tokens, start=1):
            text.feed(token, last=place == len(row.tokens))
        stopped = text.stopped or row.end in (End.TOKEN, End.GUIDE)
        return Choice(text=text.state[0], index=row.index, finish_reason="stop" if stopped else "length")


def prepare_completion(request: CompletionRequest, model: LoadedModel) -> Completing:
    """Encode a prompt (not for the event loop). Raises InvalidRequest for one that is too long."""
    prompt = model.family.encode_plain(model.codec, request.text)
    room = (model.card.context or DEFAULT_CONTEXT) - len(prompt)
    if room < 1:
        raise InvalidRequest("prompt: is too long for this model")
    seed = new_seed() if request.seed is None else request.seed
    fixed = _bias(request.logit_bias or {}, model.backend().vocab_size)
    return Completing(request, model, prompt, min(request.budget, room), seed, fixed)


def _bias(wanted: dict[str, float], size: int) -> Bias | None:
    if not wanted:
        return None
    by_id = {int(token): value for token, value in wanted.items()}
    if max(by_id) >= size:
        raise InvalidRequest(f"logit_bias: this model's token ids end at {size - 1}")
    return Bias(np.array(list(by_id), dtype=np.int64), np.array(list(by_id.values()), dtype=np.float32))
