"""The wire between the engine and everybody else: requests, events, answers.

Knows nothing of models, tokenizers or HTTP; imports pydantic only, so a bot process may load it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

MAX_WORDS = 12
MAX_WORD_CHARS = 40
MAX_TITLE_CHARS = 120
MAX_OPENING_CHARS = 400
MAX_PARENT_CHARS = 6000
MAX_CANDIDATES = 32
MAX_SEED = 2**31 - 1


class Genre(StrEnum):
    """Genres of seed system C (the first six) and four of our own."""

    SUPERHERO = "superhero"
    SCI_FI = "sci_fi"
    ACTION = "action"
    DRAMA = "drama"
    HORROR = "horror"
    THRILLER = "thriller"
    COMEDY = "comedy"
    FANTASY = "fantasy"
    MYSTERY = "mystery"
    EVERYDAY = "everyday"


class Level(StrEnum):
    """CEFR bands that a story can be asked for."""

    A1 = "A1"
    A2 = "A2"
    B1 = "B1"
    B2 = "B2"


class Length(StrEnum):
    """Story length: short is up to 60 words, medium up to 110, long above."""

    SHORT = "short"
    MEDIUM = "medium"
    LONG = "long"


class Kind(StrEnum):
    """What is asked for; the last three start from `parent`."""

    STORY = "story"
    SENTENCE = "sentence"
    JOKE = "joke"
    CONTINUE = "continue"
    SIMPLER = "simpler"
    HARDER = "harder"


class Wire(BaseModel):
    """Base of all wire models: unknown fields are refused, so a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid")


class Decoding(Wire):
    """Decoding settings of one request; None means the model family's default."""

    temperature: float | None = Field(None, ge=0.0, le=2.0)
    top_p: float | None = Field(None, gt=0.0, le=1.0)
    top_k: int | None = Field(None, ge=0, le=1000)
    min_p: float | None = Field(None, ge=0.0, le=1.0)
    repetition_penalty: float | None = Field(None, ge=1.0, le=2.0)
    no_repeat_ngram_size: int | None = Field(None, ge=0, le=10)
    dry_multiplier: float | None = Field(None, ge=0.0, le=5.0)
    dry_base: float | None = Field(None, ge=1.0, le=4.0)
    dry_allowed_length: int | None = Field(None, ge=1, le=20)
    num_beams: int | None = Field(None, ge=1, le=8)
    max_new_tokens: int | None = Field(None, ge=8, le=512)

    def over(self, base: Decoding) -> Decoding:
        """Return `base` with every setting of self that is not None put over it."""
        return base.model_copy(update=self.model_dump(exclude_none=True))


PRESETS: dict[str, Decoding] = {
    "careful": Decoding(temperature=0.3, top_p=0.9, top_k=40, min_p=0.05),
    "balanced": Decoding(temperature=0.6, top_p=0.95, top_k=0, min_p=0.05),
    "wild": Decoding(temperature=1.0, top_p=0.98, top_k=0, min_p=0.03),
}


def _one_line(text: str) -> str:
    return " ".join(text.split())


class StoryRequest(Wire):
    """One story asked for. A given seed fixes `n_candidates`, so that the answer is reproducible."""

    kind: Kind = Kind.STORY
    genre: Genre | None = None
    words: list[Annotated[str, Field(min_length=1, max_length=MAX_WORD_CHARS)]] = Field(
        default_factory=list, max_length=MAX_WORDS
    )
    opening: str | None = Field(None, min_length=1, max_length=MAX_OPENING_CHARS)
    title: str | None = Field(None, min_length=1, max_length=MAX_TITLE_CHARS)
    level: Level | None = None
    length: Length | None = None
    parent: str | None = Field(None, min_length=1, max_length=MAX_PARENT_CHARS)
    model: str | None = Field(None, max_length=100)
    decoding: Decoding = Field(default_factory=Decoding)
    seed: int | None = Field(None, ge=0, le=MAX_SEED)
    request_id: str | None = Field(None, max_length=64, pattern=r"^[A-Za-z0-9_.:-]+$")
    n_candidates: int | None = Field(None, ge=1, le=MAX_CANDIDATES)
    audience: Literal["private", "group"] = "private"
    person: str | None = Field(None, max_length=64, description="pseudonymous key for the fair queue")
    group: str | None = Field(
        None, max_length=64, description="pseudonymous key of a chat or class: groups take turns"
    )
    return_candidates: bool = False

    @field_validator("words")
    @classmethod
    def _clean_words(cls, words: list[str]) -> list[str]:
        cleaned = [_one_line(word) for word in words]
        if not all(cleaned):
            raise ValueError("a word is empty")
        return list(dict.fromkeys(cleaned))

    @field_validator("opening", "title", "parent")
    @classmethod
    def _not_blank(cls, text: str | None) -> str | None:
        if text is None:
            return None
        if not text.strip():
            raise ValueError("must not be blank")
        return text.strip()


class WordSpan(Wire):
    """Where a required word stands in the text: characters [start, end) of `text`."""

    word: str
    form: str
    start: int
    end: int


class HardWord(Wire):
    """A word of the story above the level asked for."""

    word: str
    lemma: str
    level: str


class LevelReport(Wire):
    """How a text sits against a CEFR band. Shares are of running words whose level is known."""

    asked: Level | None
    measured: Level
    share_above: float = Field(ge=0.0, le=1.0)
    hard_words: list[HardWord] = Field(default_factory=list)


class Timing(Wire):
    """Milliseconds from the request's arrival; tokens are those generated over all candidates."""

    queued_ms: float
    first_text_ms: float
    total_ms: float
    tokens: int


class Candidate(Wire):
    """One decoded draft and what it scored (higher is better)."""

    text: str
    score: float
    words_used: list[str]


class StoryResult(Wire):
    """A finished story with its receipt."""

    title: str
    text: str
    kind: Kind
    genre: Genre | None
    level: Level | None
    words: list[str]
    words_used: list[str]
    words_missed: list[str]
    spans: list[WordSpan]
    level_report: LevelReport
    model: str
    model_version: str
    seed: int
    n: int
    decoding: Decoding
    timing: Timing
    candidates: list[Candidate] | None = None
    request_id: str | None = None


class ErrorCode(StrEnum):
    """Why no story came; bots turn each into a sentence in the learner's language."""

    INVALID_REQUEST = "invalid_request"
    UNSUPPORTED_SETTING = "unsupported_setting"
    UNSUITABLE_WORDS = "unsuitable_words"
    UNWRITABLE_WORDS = "unwritable_words"
    UNSUITABLE_STORY = "unsuitable_story"
    MODEL_UNKNOWN = "model_unknown"
    OVERLOADED = "overloaded"
    NOT_READY = "not_ready"
    SHUTTING_DOWN = "shutting_down"
    DEADLINE = "deadline"
    CANCELLED = "cancelled"
    UNAUTHORISED = "unauthorised"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


class QueuedEvent(Wire):
    """The request waits; `position` counts the requests before it (0 = next)."""

    event: Literal["queued"] = "queued"
    position: int


class TextEvent(Wire):
    """A piece of story text; the deltas joined are the text of the final result."""

    event: Literal["text"] = "text"
    delta: str


class DoneEvent(Wire):
    """The story is finished."""

    event: Literal["done"] = "done"
    result: StoryResult


class ErrorEvent(Wire):
    """No story: why, and after how many seconds to try again where that makes sense."""

    event: Literal["error"] = "error"
    code: ErrorCode
    message: str
    retry_after: float | None = None


StoryEvent = Annotated[QueuedEvent | TextEvent | DoneEvent | ErrorEvent, Field(discriminator="event")]


class PlainRequest(Wire):
    """Plain continuation of a prompt, without word keeping or a prompt format (seed B's first step)."""

    prompt: str = Field("", max_length=MAX_PARENT_CHARS)
    length: int = Field(70, ge=1, le=512)
    model: str | None = Field(None, max_length=100)
    decoding: Decoding = Field(default_factory=Decoding)
    seed: int | None = Field(None, ge=0, le=MAX_SEED)


class PlainResult(Wire):
    """What plain generation gave; `text` holds prompt and continuation."""

    text: str
    model: str
    model_version: str
    seed: int
    tokens: int


class ModelInfo(Wire):
    """One model that the engine knows. `active` is the one that answers when a request names none.

    `version` is what a request that names the model gets; `version_on_disk` is another one that lies in its
    directory by now and comes to use when the model is activated.
    """

    name: str
    family: str
    version: str
    parameters: int
    active: bool
    loaded: bool
    context: int
    description: str = ""
    version_on_disk: str | None = None


class ActivateRequest(Wire):
    """Which version of a model to put to use; None takes the one on disk, whichever it is."""

    version: str | None = Field(None, max_length=100)


class Activation(Wire):
    """A model was put to use in place of `previous`, which may be the same one.

    `kept` says whether a restart serves it too: not where the default is fixed by a setting, the folder of
    models can't be written, or the version is no longer on disk.
    """

    model: str
    model_version: str
    previous: str | None
    previous_version: str | None
    seconds: float
    kept: bool


class LexiconRequest(Wire):
    """Words or phrases to look up."""

    words: list[Annotated[str, Field(min_length=1, max_length=MAX_WORD_CHARS)]] = Field(max_length=200)


class LexiconEntry(Wire):
    """Lemma, CEFR level (None when unknown: names, rare words) and every form that counts as the word."""

    word: str
    lemma: str
    level: str | None
    is_name: bool
    forms: list[str]


class LexiconResponse(Wire):
    """Entries in the order asked."""

    entries: list[LexiconEntry]


def decoding_ranges() -> dict[str, tuple[float | None, float | None]]:
    """Return the allowed (lowest, highest) of each decoding setting, as the schema states them."""
    ranges: dict[str, tuple[float | None, float | None]] = {}
    for name, field in Decoding.model_fields.items():
        bounds: dict[str, Any] = {}
        for item in field.metadata:
            for key in ("ge", "gt", "le", "lt"):
                if hasattr(item, key):
                    bounds[key] = getattr(item, key)
        ranges[name] = (bounds.get("ge", bounds.get("gt")), bounds.get("le", bounds.get("lt")))
    return ranges
