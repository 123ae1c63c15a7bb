"""One document of the training data, and its file form. Knows nothing of sources or models."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

HELD_OUT_PERCENT = 2


@dataclass
class Document:
    """A story, joke, sentence or passage with what is known of it.

    `group` decides train or held-out: texts that tell the same story share a group, so that no retelling
    of a held-out story is trained on. `content` holds lemmas that may serve as word condition, `storyline`
    one lemma of each sentence, in order (empty where it was not looked for). `level` is measured where
    `level_asked`, what a writer was asked for, is given. `genre_confidence` is None when a person gave the
    genre, else how sure the classifier was, 0…1.
    """

    source: str
    kind: str
    text: str
    group: str
    title: str | None = None
    genre: str | None = None
    level: str | None = None
    words: list[str] = field(default_factory=list)
    original: str | None = None
    content: list[str] = field(default_factory=list)
    storyline: list[str] = field(default_factory=list)
    level_asked: str | None = None
    genre_confidence: float | None = None

    @property
    def held_out(self) -> bool:
        """Whether the document is kept from training, by the hash of its group (2 %)."""
        digest = hashlib.sha256(self.group.encode()).digest()
        return int.from_bytes(digest[:4], "big") % 100 < HELD_OUT_PERCENT

    @property
    def digest(self) -> bytes:
        """What tells a text from all others; a "harder" retelling may repeat its original's text."""
        kind = "story" if self.kind == "text" else self.kind
        return hashlib.sha256(f"{kind} {self.text.lower()}".encode()).digest()


def write_documents(path: Path, documents: Iterable[Document]) -> int:
    """Write documents as JSON lines through a temporary file; return how many."""
    count = 0
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8") as file:
        for document in documents:
            file.write(json.dumps(asdict(document), ensure_ascii=False) + "\n")
            count += 1
    part.replace(path)
    return count


def read_documents(path: Path) -> Iterator[Document]:
    """Yield the documents of a file that `write_documents` wrote, also by an earlier version."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield Document(**json.loads(line))
