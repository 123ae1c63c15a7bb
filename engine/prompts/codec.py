"""Text to token ids and back, with control tokens kept apart from what people type.

Knows nothing of prompt formats or models.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer


class Codec:
    """A tokenizer with two doors: `plain` for text of people, `control` for tokens of ours.

    A control token typed by a person (`<eos>`, `<|endoftext|>`) goes through `plain` and becomes
    ordinary characters, never the control token.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        # A copy, because encode_special_tokens is a switch of the whole tokenizer.
        self._tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self._tokenizer.encode_special_tokens = True
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    @classmethod
    def from_directory(cls, directory: Path) -> Codec:
        """Load `tokenizer.json` of a model directory. Raises FileNotFoundError where there is none."""
        path = directory / "tokenizer.json"
        if not path.is_file():
            raise FileNotFoundError(f"no tokenizer.json in {directory}")
        return cls(Tokenizer.from_file(str(path)))

    def plain(self, text: str) -> list[int]:
        """Return the ids of `text`, in which nothing is a control token."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def plain_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text, as `plain` does, faster than one by one."""
        encodings = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [list(encoding.ids) for encoding in encodings]

    def control(self, token: str) -> int:
        """Return the id of a control token. Raises KeyError when the vocabulary lacks it."""
        token_id = self._tokenizer.token_to_id(token)
        if token_id is None:
            raise KeyError(token)
        return int(token_id)

    def has(self, token: str) -> bool:
        """Whether the vocabulary has this very token."""
        return self._tokenizer.token_to_id(token) is not None

    def control_ids(self) -> frozenset[int]:
        """Ids of all control tokens."""
        added = self._tokenizer.get_added_tokens_decoder()
        return frozenset(int(i) for i, token in added.items() if token.special)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`, control tokens left out."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def following(self, ids: Sequence[int]) -> str:
        """Return the text of `ids` as it stands after other text: with the space before its first word."""
        head = self.plain("x")
        return self.decode([*head, *ids])[len(self.decode(head)) :]

    @property
    def size(self) -> int:
        """Number of ids, control tokens included."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))
