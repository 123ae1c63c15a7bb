"""The wire of OpenAI-compatible completions: what of OpenAI's fields is taken, and the answers' shapes.

Knows nothing of models or HTTP; imports pydantic only.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, field_validator

from engine.schema import MAX_PARENT_CHARS, MAX_SEED, Decoding, Wire

MAX_TOKENS = 512
MAX_CHOICES = 16
MAX_STOPS = 4
MAX_BIASES = 300

Prompt = Annotated[str, Field(max_length=MAX_PARENT_CHARS)]
Stop = Annotated[str, Field(min_length=1, max_length=100)]


class StreamOptions(Wire):
    """`include_usage` adds a last chunk with the counts of tokens."""

    include_usage: bool | None = None
    include_obfuscation: Literal[False] | None = None


class CompletionRequest(Wire):
    """A prompt to go on with, as OpenAI's clients send it; None is OpenAI's default."""

    model: str | None = Field(None, max_length=100)
    prompt: Prompt | Annotated[list[Prompt], Field(min_length=1, max_length=1)] = ""
    max_tokens: int | None = Field(None, ge=1, le=MAX_TOKENS)
    temperature: float | None = Field(None, ge=0.0, le=2.0)
    top_p: float | None = Field(None, gt=0.0, le=1.0)
    n: int | None = Field(None, ge=1, le=MAX_CHOICES)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    seed: int | None = Field(None, ge=0, le=MAX_SEED)
    stop: Stop | Annotated[list[Stop], Field(max_length=MAX_STOPS)] | None = None
    echo: bool | None = None
    logit_bias: dict[Annotated[str, Field(pattern=r"^[0-9]{1,7}$")], float] | None = Field(
        None, max_length=MAX_BIASES, description="token id → -100 to 100"
    )
    user: str | None = Field(None, max_length=64, description="key for the fair queue")
    best_of: int | None = None
    logprobs: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    suffix: str | None = None

    @field_validator("logprobs", "suffix", "frequency_penalty", "presence_penalty")
    @classmethod
    def _off(cls, value: object) -> object:
        if value:
            raise ValueError("is not supported here: leave it out")
        return value

    @field_validator("best_of")
    @classmethod
    def _one(cls, value: int | None) -> int | None:
        if value not in (None, 1):
            raise ValueError("is not supported here: ask for n and choose yourself")
        return value

    @field_validator("logit_bias")
    @classmethod
    def _in_range(cls, biases: dict[str, float] | None) -> dict[str, float] | None:
        if biases and not all(-100 <= value <= 100 for value in biases.values()):
            raise ValueError("each value must be between -100 and 100")
        return biases

    @property
    def text(self) -> str:
        """The prompt."""
        return self.prompt if isinstance(self.prompt, str) else self.prompt[0]

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts before which the continuation ends."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def choices(self) -> int:
        """How many continuations are wanted."""
        return self.n or 1

    @property
    def budget(self) -> int:
        """The most tokens of a continuation."""
        return self.max_tokens or 16

    @property
    def decoding(self) -> Decoding:
        """OpenAI's defaults: the model's own distribution."""
        temperature = 1.0 if self.temperature is None else self.temperature
        return Decoding(temperature=temperature, top_p=self.top_p or 1.0)


class Choice(BaseModel):
    """One continuation, or a piece of it."""

    text: str
    index: int
    logprobs: None = None
    finish_reason: Literal["stop", "length"] | None


class Usage(BaseModel):
    """Tokens of the prompt and of all continuations."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Completion(BaseModel):
    """An answer, or a chunk of one. `system_fingerprint` is OpenAI's name for our model_version."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    model_version: str
    system_fingerprint: str
    choices: list[Choice]
    usage: Usage | None = None
