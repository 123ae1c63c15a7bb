"""Showing a story while it is written: whole sentences only, each passed by the content filter first.

Knows the tokens of one row; nothing of threads or of what else is decoded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from engine.errors import InternalError
from engine.sentences import sentence_ends
from engine.telling import Telling


@dataclass
class Streamer:
    """Collects one row's tokens and says what may be shown. `suitable` judges a text."""

    telling: Telling
    suitable: Callable[[str], bool]
    shown: str = ""
    tokens: list[int] = field(default_factory=list)
    accepted: int = 0
    """How many of `tokens` stand for text that was shown."""

    def ends_sentence(self, token: int) -> bool:
        """Take a token; whether it is worth asking `next_text` now."""
        self.tokens.append(token)
        piece = self.telling.model.vocabulary.piece(token)
        # A sentence counts as ended once something follows it.
        return piece[:1].isspace() or piece == b""

    def next_text(self) -> str | None:
        """Return text that may be shown now ('' when none), None when what was written is unsuitable."""
        title, text = self.telling.written(self.tokens)
        end = max((end for end in sentence_ends(text) if end < len(text)), default=0)
        if end <= len(self.shown):
            return ""
        if not self.suitable(f"{title}\n{text[:end]}"):
            return None
        delta, self.shown = text[len(self.shown) : end], text[:end]
        self.accepted = len(self.tokens) - 1
        return delta

    def rest(self, text: str) -> str:
        """Return what is left to show of the final text. Raises InternalError if it isn't what was shown."""
        if not text.startswith(self.shown):
            raise InternalError("The story came out other than it was shown.")
        return text[len(self.shown) :]
