"""Token ids as text for servers that take or give no ids: the text must read back as the very same ids.

Knows one tokenizer; nothing of servers or prompt formats.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from engine.errors import InvalidRequest

_LAST_WORD = re.compile(r"[\w'’-]+\s*$")


class TextForm:
    """The tokenizer as a server uses it: control tokens in a text are control tokens."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self._tokenizer.encode_special_tokens = False
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    @classmethod
    def from_directory(cls, directory: Path) -> TextForm:
        """Load `tokenizer.json` of a model directory."""
        return cls(Tokenizer.from_file(str(directory / "tokenizer.json")))

    def of(self, ids: Sequence[int]) -> str:
        """Return a text that a server, adding the special tokens it always adds, reads as `ids`.

        Raises InvalidRequest when there is none: a person typed what the server takes for a control token.
        """
        wanted = list(ids)
        # The second leaves out a first token that the tokenizer puts there by itself.
        for start in (0, 1):
            text = self.text(wanted[start:])
            if list(self._tokenizer.encode(text).ids) == wanted:
                return text
        raise InvalidRequest(
            "Please leave out what looks like a control token, such as <eos>, and try again."
        )

    def ids(self, text: str) -> list[int]:
        """Return the ids of a text that a server wrote."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`, control tokens included."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))

    def token(self, token: int) -> str:
        """Return how a control token is written."""
        return str(self._tokenizer.id_to_token(token))


def whole_words(text: str) -> str:
    """Return `text` without its last word, which may be cut; all of it when it is one word."""
    kept = _LAST_WORD.sub("", text).rstrip()
    return kept or text.rstrip()
