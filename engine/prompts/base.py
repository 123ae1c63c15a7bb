"""What a prompt format is: from a request to token ids, from generated ids to a story.

Knows nothing of decoding or of how the ids are generated; training builds its examples through it too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from engine.prompts.codec import Codec
from engine.schema import PRESETS, Decoding, Kind, Length, StoryRequest

# Words of a story by length band: the upper bound of each band (the last has none in the data).
LENGTH_WORDS: dict[Length, int] = {Length.SHORT: 60, Length.MEDIUM: 110, Length.LONG: 180}


@dataclass(frozen=True)
class ParsedStory:
    """A generated story: `finished` says that the model ended it itself."""

    title: str
    text: str
    finished: bool


class PromptFamily(ABC):
    """One prompt format. A family has no state; the codec of the model is passed in."""

    name: ClassVar[str]
    kinds: ClassVar[frozenset[Kind]]
    decoding: ClassVar[Decoding] = PRESETS["balanced"]

    @abstractmethod
    def encode(self, codec: Codec, request: StoryRequest) -> list[int]:
        """Return the prompt ids; the opening, if any, stands at their end."""

    @abstractmethod
    def parse(self, ids: Sequence[int], codec: Codec, request: StoryRequest) -> ParsedStory:
        """Turn generated ids (without the prompt) into a story; the opening stands at its start."""

    @abstractmethod
    def end_token(self, codec: Codec) -> int | None:
        """Id that ends a text, None when the model has none."""

    def unwritable(self, words: Sequence[str]) -> list[str]:
        """Return the words that a model of this family has no letters for; none by default."""
        return []

    def encode_plain(self, codec: Codec, prompt: str) -> list[int]:
        """Return the ids from which a model goes on with `prompt` alone; from its end token if empty."""
        end = self.end_token(codec)
        return codec.plain(prompt) or [0 if end is None else end]

    def text_token(self, codec: Codec, request: StoryRequest) -> int | None:
        """Id that opens the story text when the model first writes a title, None when it starts at once."""
        return None

    def banned_tokens(self, codec: Codec) -> frozenset[int]:
        """Ids never generated: every control token but the end and the text token."""
        keep = {self.end_token(codec)}
        return codec.control_ids() - {i for i in keep if i is not None}

    def max_new_tokens(self, request: StoryRequest) -> int:
        """Token budget of one request: its own setting, else by kind and length (1.6 tokens a word)."""
        if request.decoding.max_new_tokens is not None:
            return request.decoding.max_new_tokens
        if request.kind in (Kind.SENTENCE, Kind.JOKE):
            return 64
        words = LENGTH_WORDS[request.length or Length.MEDIUM]
        return min(512, int(words * 1.6) + 24)


# What stands without a space before it, and what stands without one behind it.
_CLOSING = frozenset(" .,;:!?'\")]}’”…")
_OPENING = frozenset("([{“‘-—–/")


def text_after_opening(opening: str | None, generated: str) -> str:
    """Join an opening, verbatim, and what the model wrote after it, with one space where both need it.

    `generated` begins with a space when it begins with a word of its own, where the tokenizer tells.
    """
    rest = " ".join(generated.split())
    if not opening or not rest:
        return opening or rest
    if generated[0].isspace():
        return f"{opening} {rest}"
    last, first = opening[-1], rest[0]
    same_word = last.isalnum() and first.isalnum()
    in_quote = last == '"' and opening.count('"') % 2 == 1
    joined = first in _CLOSING or last in _OPENING or same_word or in_quote
    return opening + ("" if joined else " ") + rest
