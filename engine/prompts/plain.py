"""The format for any causal checkpoint that has none of its own: a line of instruction, then the opening.

Knows nothing of decoding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from engine.prompts.base import ParsedStory, PromptFamily, text_after_opening
from engine.prompts.codec import Codec
from engine.schema import Kind, StoryRequest

END_TOKENS = ("<|endoftext|>", "</s>", "<eos>", "<EOS>", "<|end_of_text|>")


class Plain(PromptFamily):
    """Plain text in, plain text out; only `opening`, `title`, `words` and `genre` reach the model."""

    name: ClassVar[str] = "plain"
    kinds: ClassVar[frozenset[Kind]] = frozenset({Kind.STORY, Kind.SENTENCE, Kind.JOKE, Kind.CONTINUE})

    def encode(self, codec: Codec, request: StoryRequest) -> list[int]:
        about = [
            f"A short {request.genre.value.replace('_', ' ')} story" if request.genre else "A short story"
        ]
        if request.words:
            about.append(f"with the words {', '.join(request.words)}")
        head = f"{' '.join(about)}.\n\n{request.title or 'The story'}\n\n"
        start = request.opening or ("" if request.kind is not Kind.CONTINUE else (request.parent or ""))
        return codec.plain(head + start) or [0]

    def end_token(self, codec: Codec) -> int | None:
        return next((codec.control(token) for token in END_TOKENS if codec.has(token)), None)

    def parse(self, ids: Sequence[int], codec: Codec, request: StoryRequest) -> ParsedStory:
        end = self.end_token(codec)
        finished = end is not None and end in ids
        body = list(ids[: ids.index(end)] if finished and end is not None else ids)
        text = text_after_opening(request.opening, codec.following(body))
        return ParsedStory(title=request.title or "A story", text=text, finished=finished)
