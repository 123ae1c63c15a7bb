"""What each token id stands for in bytes, so that text can be followed token by token without a decoder.

Knows byte-level BPE and sentencepiece-like vocabularies (tokenizer.json); nothing of prompts or models.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine.jobs import TokenMarks

_METASPACE = "▁"
_BREAKS = re.compile(rb"[\n\"]|\xe2\x80[\x9c\x9d]")
_BEGINS = re.compile(rb" [A-Za-z\x80-\xff]")


class Vocabulary:
    """Bytes of every id; control tokens are empty."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = tuple(pieces)
        self.fingerprint = hash(self._pieces)
        """The same for equal vocabularies, within one process."""
        self._strings = tuple(_whole(piece) for piece in self._pieces)
        self.letters = tuple(token for token, piece in enumerate(self._pieces) if piece[:1].isalpha())
        """Ids that go on with the word before them: their first byte is an ASCII letter."""
        each = tuple(enumerate(self._pieces))
        self.marks = TokenMarks(
            breakers=frozenset(token for token, piece in each if _BREAKS.search(piece)),
            free=frozenset(token for token, piece in each if not _BEGINS.match(piece)),
        )
        """For the loop breaker: quotes and new lines end a run; only what begins a word is made dearer."""

    @classmethod
    def from_directory(cls, directory: Path) -> Vocabulary:
        """Read `tokenizer.json` of a model directory."""
        data = json.loads((directory / "tokenizer.json").read_text(encoding="utf-8"))
        pieces = _pieces(data["model"])
        to_bytes = _byte_level if _is_byte_level(data) else _sentencepiece
        special = {added["id"]: added for added in data.get("added_tokens", ()) if added["special"]}
        plain = {added["id"]: added["content"] for added in data.get("added_tokens", ())}
        size = max([*pieces, *plain], default=-1) + 1
        out = [b""] * size
        for number, piece in pieces.items():
            out[number] = to_bytes(piece)
        for number, content in plain.items():
            out[number] = b"" if number in special else content.encode()
        return cls(out)

    def __len__(self) -> int:
        return len(self._pieces)

    def piece(self, token: int) -> bytes:
        """Return the bytes of a token; none for a control token or an id past the vocabulary."""
        return self._pieces[token] if 0 <= token < len(self._pieces) else b""

    def string(self, token: int) -> str | None:
        """Return a token's text, None for one that holds part of a character."""
        return self._strings[token] if 0 <= token < len(self._strings) else ""

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`; a character cut in half at the end is left out."""
        data = b"".join(map(self.piece, ids))
        return data.decode("utf-8", errors="ignore")


def _whole(piece: bytes) -> str | None:
    try:
        return piece.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _pieces(model: dict[str, Any]) -> dict[int, str]:
    vocab = model["vocab"]
    if isinstance(vocab, dict):
        return {number: piece for piece, number in vocab.items()}
    return {number: entry[0] for number, entry in enumerate(vocab)}


def _is_byte_level(data: dict[str, Any]) -> bool:
    return '"ByteLevel"' in json.dumps([data.get("decoder"), data.get("pre_tokenizer")])


@lru_cache(maxsize=1)
def _byte_of_character() -> dict[str, int]:
    """The table of GPT-2's byte-level BPE: printable bytes stand for themselves, the others for 256 + n."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [number for number in range(256) if number not in printable]
    return {chr(b): b for b in printable} | {chr(256 + n): b for n, b in enumerate(others)}


def _byte_level(piece: str) -> bytes:
    table = _byte_of_character()
    return bytes(table[c] for c in piece) if all(c in table for c in piece) else piece.encode()


def _sentencepiece(piece: str) -> bytes:
    if len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
        return bytes([int(piece[3:5], 16)])
    return piece.replace(_METASPACE, " ").encode()
