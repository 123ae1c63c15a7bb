"""Showing a story while it is written: whole sentences only, each passed by the content filter first.

Knows the tokens of one row; nothing of what else is decoded.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from engine.errors import InternalError
from engine.jobs import Drawn, JobEvent
from engine.sentences import sentence_ends
from engine.telling import Telling

# A byte that may end a sentence; all but the first three belong to characters beyond ASCII.
_ENDER = re.compile(rb"[.!?\x80-\xff]")
# The text is looked at with so many tokens that begin with a space after it: the first may be but a space.
_LOOKS = 2
# Characters before new text that are judged with it again: more than a phrase or a spelled-out word has.
SEAM_CHARS = 100


@dataclass
class Streamer:
    """Collects one row's tokens and says what may be shown. `suitable` judges a text.

    `through` is for the decoding thread; the rest belongs to the reader.
    """

    telling: Telling
    suitable: Callable[[str], bool]
    shown: str = ""
    tokens: list[int] = field(default_factory=list)
    accepted: int = 0
    """How many of `tokens` stand for text that was shown."""
    refused: bool = False
    """Whether something unsuitable was written: nothing more of this row is shown."""
    _looks: int = 0
    _ender: int = 0
    """How many tokens there were with the last one that may end a sentence."""
    _cuts: deque[tuple[int, int]] = field(default_factory=deque)
    """Numbers of tokens to look at, each with the ender before it."""

    def through(self, sink: Callable[[JobEvent], None]) -> Callable[[JobEvent], None]:
        """Return a sink that keeps the tokens drawn and passes on what `next_text` should be called for."""

        def take(event: JobEvent) -> None:
            if not isinstance(event, Drawn) or self._may_end_sentence(event.token):
                sink(event)

        return take

    def next_text(self) -> str:
        """Return text that may be shown now, '' when none; takes milliseconds: not for the event loop."""
        before = len(self.shown)
        # One sentence after the other, so that a reader's pace decides nothing.
        while self._cuts and not self.refused:
            count, ender = self._cuts.popleft()
            # Of two looks at one sentence's end the first mostly shows it.
            if ender > self.accepted:
                self._look(count)
        return self.shown[before:]

    @property
    def due(self) -> bool:
        """Whether `next_text` has anything to look at."""
        return not self.refused and any(ender > self.accepted for _, ender in tuple(self._cuts))

    def rest(self, text: str) -> str:
        """Return what is left to show of the final text. Raises InternalError if it isn't what was shown."""
        if not text.startswith(self.shown):
            raise InternalError("The story came out other than it was shown.")
        return text[len(self.shown) :]

    def _may_end_sentence(self, token: int) -> bool:
        piece = self.telling.model.vocabulary.piece(token)
        self.tokens.append(token)
        # A sentence counts as ended once something follows it.
        cut = self._looks > 0 and (piece == b"" or piece[:1].isspace())
        if cut:
            self._looks -= 1
            self._cuts.append((len(self.tokens), self._ender))
        if _ENDER.search(piece):
            self._looks, self._ender = _LOOKS, len(self.tokens)
        return cut

    def _look(self, count: int) -> None:
        title, text = self.telling.written(self.tokens[:count])
        end = max((end for end in sentence_ends(text) if end < len(text)), default=0)
        if end <= len(self.shown):
            return
        if not self.suitable(self._unjudged(title, text[:end])):
            self.refused = True
            return
        self.shown, self.accepted = text[:end], count - 1

    def _unjudged(self, title: str, text: str) -> str:
        """Return what is to be judged: all that is new, and enough before it for a phrase across the seam."""
        if not self.shown:
            return f"{title}\n{text}"
        seam = text.rfind(" ", 0, max(0, len(self.shown) - SEAM_CHARS))
        return text[seam + 1 :]
