"""From a source's files to clean documents, with a count of what was refused and why.

Knows nothing of labels, near-duplicates or the data card.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from training.data.clean import clean, refusal
from training.data.documents import Document
from training.data.readers import Folders
from training.data.sources import Source


@dataclass
class Reading:
    """What came of reading one source: refused documents by reason, exact duplicates."""

    refused: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0


def fit(document: Document, reading: Reading) -> Document | None:
    """Return the document cleaned, or None when it is refused; `reading` counts why."""
    text = clean(document.text)
    reason = refusal(document.kind, document.text, text)
    if text is None or reason:
        reading.refused[reason or ""] += 1
        return None
    document.text = text
    if document.title:
        document.title = clean(document.title, least=2)
    if document.original:
        document.original = clean(document.original)
        if document.original is None:
            reading.refused["encoding or boilerplate"] += 1
            return None
    return document


def read_source(
    source: Source,
    folders: Folders,
    seen: set[bytes],
    reading: Reading,
    progress: Callable[[int], None] = lambda done: None,
) -> Iterator[Document]:
    """Yield the fit documents of a source whose text is not in `seen` yet. Raises CorpusError."""
    for number, document in enumerate(source.read(folders), 1):
        if number % 500 == 0:
            progress(number)
        kept = fit(document, reading)
        if kept is None:
            continue
        if kept.digest in seen:
            reading.duplicates += 1
            continue
        seen.add(kept.digest)
        yield kept
