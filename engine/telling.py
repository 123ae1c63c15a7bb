"""What one story request means for the decoder: settings, prompt, guides, seeds.

Knows requests, prompt families and guides; nothing of threads or of choosing among drafts.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from engine.constraints import WordForms
from engine.errors import InvalidRequest, UnsupportedSetting, UnwritableWords
from engine.guiding import MAX_TITLE_TOKENS, StoryGuide, StoryPlan
from engine.jobs import IDLE_ROWS, Job, JobEvent, RowPlan, RowResult, RowSettings
from engine.level_bias import LevelPlan
from engine.loading import DEFAULT_CONTEXT, LoadedModel
from engine.schema import MAX_SEED, Decoding, Kind, PlainRequest, StoryRequest
from engine.scoring import Draft, clean, draft_of, with_learned

SEEDED_ROWS = IDLE_ROWS
ROUND_STREAMS = 1024
MIN_ROOM = 40
KEEPS_WORDS = frozenset({Kind.STORY, Kind.SENTENCE, Kind.CONTINUE})
NEEDS_PARENT = frozenset({Kind.CONTINUE, Kind.SIMPLER, Kind.HARDER})


def new_seed() -> int:
    """Return a seed for a request that gives none."""
    return secrets.randbelow(MAX_SEED + 1)


@dataclass
class Telling:
    """One request, ready to be decoded as often as needed."""

    request: StoryRequest
    model: LoadedModel
    decoding: Decoding
    seed: int
    rows: int | None
    prompt: list[int]
    room: int
    """Tokens that may be written, the title included."""
    guide: Callable[[], StoryGuide]
    prefix: list[int] = field(default_factory=list)
    """Tokens already shown to the reader; later rounds go on from there."""

    def job(self, round_number: int, deadline: float, sink: Callable[[JobEvent], None]) -> Job:
        """Return the job of a round; every round draws other numbers from the same seed."""
        settings = RowSettings.of(self.decoding)
        context = [*self.model.codec.plain(self.request.opening or ""), *self.prefix]

        def plan(index: int) -> RowPlan:
            guide = self.guide()
            for token in self.prefix:
                guide.observe(token)
            stream = round_number * ROUND_STREAMS + index
            return RowPlan(settings, self.seed, stream, guide, context, self.model.vocabulary.marks)

        beams = self.decoding.num_beams or 1
        return Job(
            backend=self.model.backend(beams),
            prompt=[*self.prompt, *self.prefix],
            plan=plan,
            sink=sink,
            end_ids=self.model.end_ids,
            max_new_tokens=max(1, self.room - len(self.prefix)),
            deadline=deadline,
            rows=self.rows,
            person=self.request.person,
            group=self.request.group,
            num_beams=beams,
        )

    def drafts(self, rows: Sequence[RowResult]) -> list[Draft]:
        """Turn decoded rows into scored drafts; a learned scorer reads them where there is a choice."""
        drafts = [
            draft_of(row, [*self.prefix, *row.tokens], self.request, self.model.family, self.model.codec)
            for row in rows
        ]
        reranker = self.model.reranker
        if reranker is None or len(drafts) < 2 or not reranker.reads(self.request):
            return drafts
        scores = reranker.scores(self.request, [(draft.title, draft.text) for draft in drafts])
        return with_learned(drafts, scores, reranker.weight)

    def written(self, tokens: Sequence[int]) -> tuple[str, str]:
        """Return title and text of a row so far; `tokens` follow the prefix."""
        ids = [*self.prefix, *tokens]
        opens = self.model.family.text_token(self.model.codec, self.request)
        if opens is not None and opens not in ids:
            return "", ""
        parsed = self.model.family.parse(ids, self.model.codec, self.request)
        return parsed.title, clean(parsed.text, len(self.request.opening or ""))


def prepare(
    request: StoryRequest, model: LoadedModel, *, keep_words: bool = True, hold_end: bool = True
) -> Telling:
    """Check a request against a model and encode it (takes milliseconds: not for the event loop).

    Without `keep_words` only the prompt tells the model of words and level; without `hold_end` a story may
    end with words missing. Raises InvalidRequest, UnsupportedSetting or UnwritableWords.
    """
    family, codec = model.family, model.codec
    _check(request, model)
    kept = list(request.words) if keep_words and request.kind in KEEPS_WORDS else []
    decoding = request.decoding.over(family.decoding)
    prompt = family.encode(codec, request)
    room = (model.card.context or DEFAULT_CONTEXT) - len(prompt)
    if room < MIN_ROOM:
        raise InvalidRequest("That is too much text for this model: please shorten the opening or the story.")
    title_end = family.text_token(codec, request)
    title = 0 if title_end is None else MAX_TITLE_TOKENS + 1
    budget = min(family.max_new_tokens(request), room - title)
    beams = decoding.num_beams or 1
    model.backend(beams)
    decoding = decoding.model_copy(update={"max_new_tokens": budget, "num_beams": beams})
    plan = StoryPlan(
        vocabulary=model.vocabulary,
        words=WordForms(kept, _encoder(model)),
        end_ids=model.end_ids,
        banned=family.banned_tokens(codec),
        title_end=title_end,
        max_new_tokens=budget,
        opening=request.opening or "",
        one_sentence=request.kind is Kind.SENTENCE,
        hold_end=hold_end,
        level=_level_plan(request, model) if keep_words else None,
    )
    rows = request.n_candidates or (SEEDED_ROWS if request.seed is not None else None)
    if decoding.temperature == 0 or beams > 1:
        rows = 1 if beams == 1 else min(request.n_candidates or beams, beams)
    seed = new_seed() if request.seed is None else request.seed
    return Telling(request, model, decoding, seed, rows, prompt, budget + title, lambda: StoryGuide(plan))


def _level_plan(request: StoryRequest, model: LoadedModel) -> LevelPlan | None:
    if request.level is None:
        return None
    codec, spaced = model.codec, _puts_spaces(model)
    return LevelPlan.of(
        request.level,
        model.vocabulary,
        lambda words: codec.plain_batch([word[1:] if spaced else word for word in words]),
        request.words,
        request.opening or "",
    )


def _puts_spaces(model: LoadedModel) -> bool:
    """Whether the tokenizer puts a space before every text by itself."""
    return model.vocabulary.text(model.codec.plain("a")).startswith(" ")


def _encoder(model: LoadedModel) -> Callable[[str], Sequence[int]]:
    """Return what turns a form into tokens."""
    codec = model.codec
    if not _puts_spaces(model):
        return codec.plain
    return lambda form: codec.plain(form[1:]) if form.startswith(" ") else []


def _check(request: StoryRequest, model: LoadedModel) -> None:
    if request.kind not in model.family.kinds:
        can = ", ".join(sorted(kind.value for kind in model.family.kinds))
        raise UnsupportedSetting(f"The model {model.card.name} can't do '{request.kind.value}', only: {can}.")
    if request.kind in NEEDS_PARENT and not request.parent:
        raise InvalidRequest(f"'{request.kind.value}' needs a story to start from.")
    foreign = model.family.unwritable(request.words)
    if foreign:
        names = ", ".join(f"“{word}”" for word in foreign)
        raise UnwritableWords(
            f"Stories are in English, so {names} can't be in one. Please give English words."
        )
    beams = request.decoding.num_beams or 1
    if beams > 1 and request.n_candidates is not None and request.n_candidates > beams:
        raise UnsupportedSetting(
            f"{request.n_candidates} candidates can't come out of {beams} beams: raise num_beams."
        )


@dataclass(frozen=True)
class Continuation:
    """A plain prompt, ready to be continued."""

    model: LoadedModel
    decoding: Decoding
    seed: int
    prompt: list[int]
    max_new_tokens: int

    def job(self, deadline: float, sink: Callable[[JobEvent], None]) -> Job:
        """Return the job: one row, without a guide."""
        beams = self.decoding.num_beams or 1
        settings = RowSettings.of(self.decoding)
        return Job(
            backend=self.model.backend(beams),
            prompt=self.prompt,
            plan=lambda index: RowPlan(settings, self.seed, index, None, self.prompt),
            sink=sink,
            end_ids=self.model.end_ids,
            max_new_tokens=self.max_new_tokens,
            deadline=deadline,
            rows=1,
            num_beams=beams,
        )


def prepare_plain(request: PlainRequest, model: LoadedModel) -> Continuation:
    """Encode a plain prompt (not for the event loop). Raises InvalidRequest when it is too long."""
    decoding = request.decoding.over(model.family.decoding)
    model.backend(decoding.num_beams)
    seed = new_seed() if request.seed is None else request.seed
    prompt = model.family.encode_plain(model.codec, request.prompt)
    room = (model.card.context or DEFAULT_CONTEXT) - len(prompt)
    if room < 1:
        raise InvalidRequest("That prompt is too long for this model.")
    budget = min(decoding.max_new_tokens or request.length, room)
    return Continuation(model, decoding, seed, prompt, budget)
