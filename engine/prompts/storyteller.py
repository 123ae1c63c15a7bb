"""The prompt format of `storyteller`, the default model.

    <bos>[<kind:…>][<genre:…>][<level:…>][<length:…>][<words> a, b][<source> …]<title> T<story> text<eos>

Every condition may be left out; training drops each at random. The title stands after the words, so that
a request without one gets one: the prompt then ends in <title> and the model writes title and text.
Knows nothing of decoding; training renders its examples with `render`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import regex as re

from engine.prompts.base import ParsedStory, PromptFamily, text_after_opening
from engine.prompts.codec import Codec
from engine.schema import Decoding, Genre, Kind, Length, Level, StoryRequest

PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"
STORY, TITLE, WORDS, SOURCE = "<story>", "<title>", "<words>", "<source>"
TEXT_KIND = "<kind:text>"
KIND_TOKENS: dict[Kind, str] = {kind: f"<kind:{kind.value}>" for kind in Kind if kind is not Kind.STORY}
GENRE_TOKENS = {genre: f"<genre:{genre.value}>" for genre in Genre}
LEVEL_TOKENS = {level: f"<level:{level.value}>" for level in Level}
LENGTH_TOKENS = {length: f"<length:{length.value}>" for length in Length}

# Order fixes the ids of a tokenizer trained by this repository.
CONTROL_TOKENS: tuple[str, ...] = (
    *(PAD, BOS, EOS, STORY, TITLE, WORDS, SOURCE, TEXT_KIND),
    *KIND_TOKENS.values(),
    *GENRE_TOKENS.values(),
    *LEVEL_TOKENS.values(),
    *LENGTH_TOKENS.values(),
)

# Letters with any accent, digits, and what joins them: the model has learned no other script and no emoji.
_LATIN_WORD = re.compile(r"(?=.*[\p{Latin}\p{Nd}])[\p{Latin}\p{M}\p{Nd} .,'’&+/-]+", re.V1)

# Characters of a parent text that fit beside a story in a context of 512 tokens.
SOURCE_CHARS = 900

_PLAIN = str.maketrans(
    {"“": '"', "”": '"', "‘": "'", "’": "'", "–": "-", "—": "-", "…": "...", "\u00a0": " "}
)


def normalise(text: str) -> str:
    """Return text as the model knows it: straight quotes and dashes, one space between words."""
    return " ".join(text.translate(_PLAIN).split())


def tail(text: str, limit: int = SOURCE_CHARS) -> str:
    """Return the last whole sentences of `text` that fit into `limit` characters."""
    if len(text) <= limit:
        return text
    cut = text[-limit:]
    for mark in (". ", "! ", "? ", '" '):
        at = cut.find(mark)
        if 0 <= at < limit // 2:
            return cut[at + len(mark) :]
    return cut[cut.find(" ") + 1 :]


class Storyteller(PromptFamily):
    """The default family: conditions in control tokens, title written by the model when none is given."""

    name: ClassVar[str] = "storyteller"
    kinds: ClassVar[frozenset[Kind]] = frozenset(Kind)
    # A small model keeps its thread better below the balanced preset, and would else wear words out. The loop
    # breaker leaves 3 of 100 stories with four words said twice instead of 21 (docs/word-keeping.md).
    decoding: ClassVar[Decoding] = Decoding(
        temperature=0.4,
        top_p=0.95,
        top_k=0,
        min_p=0.05,
        repetition_penalty=1.1,
        dry_multiplier=0.8,
        dry_base=1.75,
        dry_allowed_length=2,
    )

    def condition(
        self,
        codec: Codec,
        *,
        kind: Kind = Kind.STORY,
        genre: Genre | None = None,
        level: Level | None = None,
        length: Length | None = None,
        words: Sequence[str] = (),
        source: str | None = None,
    ) -> list[int]:
        """Return the ids of everything before <title> or <story>."""
        ids = [codec.control(BOS)]
        tokens = (
            KIND_TOKENS.get(kind),
            GENRE_TOKENS[genre] if genre else None,
            LEVEL_TOKENS[level] if level else None,
            LENGTH_TOKENS[length] if length else None,
        )
        ids += [codec.control(token) for token in tokens if token]
        if words:
            ids += [codec.control(WORDS), *codec.plain(" " + ", ".join(normalise(w) for w in words))]
        if source:
            ids += [codec.control(SOURCE), *codec.plain(" " + normalise(source))]
        return ids

    def _asked(self, codec: Codec, request: StoryRequest, source: str | None = None) -> list[int]:
        return self.condition(
            codec,
            kind=request.kind,
            genre=request.genre,
            level=request.level,
            length=request.length if request.kind is Kind.STORY else None,
            words=request.words,
            source=source,
        )

    def unwritable(self, words: Sequence[str]) -> list[str]:
        return [word for word in words if not _LATIN_WORD.fullmatch(word)]

    def encode(self, codec: Codec, request: StoryRequest) -> list[int]:
        source = None
        if request.parent and request.kind in (Kind.CONTINUE, Kind.SIMPLER, Kind.HARDER):
            source = tail(normalise(request.parent))
        ids = self._asked(codec, request, source)
        if request.kind is Kind.STORY:
            if request.title:
                ids += [codec.control(TITLE), *codec.plain(" " + normalise(request.title))]
            elif not request.opening:
                return [*ids, codec.control(TITLE)]
        ids.append(codec.control(STORY))
        if request.opening:
            ids += codec.plain(" " + normalise(request.opening))
        return ids

    def story_ids(self, codec: Codec, request: StoryRequest, title: str, text: str) -> tuple[list[int], int]:
        """Return the ids of a whole story as training shows it, and how many of them are its condition."""
        ids = self._asked(codec, request)
        start = len(ids)
        ids += [codec.control(TITLE), *codec.plain(" " + normalise(title)), codec.control(STORY)]
        return [*ids, *codec.plain(" " + normalise(text)), codec.control(EOS)], start

    def encode_plain(self, codec: Codec, prompt: str) -> list[int]:
        start = [codec.control(BOS), codec.control(TEXT_KIND), codec.control(STORY)]
        # Every text was learned with a space before its first word and none at its end.
        text = normalise(prompt)
        return [*start, *codec.plain(" " + text)] if text else start

    def text_token(self, codec: Codec, request: StoryRequest) -> int | None:
        writes_title = request.kind is Kind.STORY and not request.title and not request.opening
        return codec.control(STORY) if writes_title else None

    def end_token(self, codec: Codec) -> int | None:
        return codec.control(EOS)

    def parse(self, ids: Sequence[int], codec: Codec, request: StoryRequest) -> ParsedStory:
        end = codec.control(EOS)
        finished = end in ids
        body = list(ids[: ids.index(end)] if finished else ids)
        title = request.title or ""
        opens = self.text_token(codec, request)
        if opens is not None:
            at = body.index(opens) if opens in body else len(body)
            title, body = codec.decode(body[:at]).strip(), body[at + 1 :]
        text = text_after_opening(request.opening, codec.following(body))
        if not title and request.opening:
            title = " ".join(request.opening.split()[:6]).rstrip(".,;:!?")
        return ParsedStory(title=title, text=text, finished=finished)
