"""From corpus folders to documents ready for training, with a data card.

Deterministic; a source already prepared is not read again, so a killed run goes on where it stopped.
Knows nothing of tokenizers or models.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from training.data.clean import clean, is_archaic
from training.data.documents import Document, read_documents, write_documents
from training.data.labels import common_words, content_words
from training.data.sources import SOURCES, Source

CARD = "data_card.json"
MAX_WORDS = 330


@dataclass
class SourceCard:
    """What came of one source. Words are whitespace tokens of the texts kept."""

    name: str
    licence: str
    credit: str
    documents: int
    held_out: int
    words: int
    refused: int
    duplicates: int


def document_path(folder: Path, source: str) -> Path:
    """Return where the prepared documents of a source stand."""
    return folder / f"{source}.jsonl"


def _fit(document: Document) -> Document | None:
    text = clean(document.text)
    if text is None or len(text.split()) > MAX_WORDS:
        return None
    if document.kind in ("story", "text") and (len(text.split()) < 20 or is_archaic(text)):
        return None
    document.text = text
    if document.title:
        document.title = clean(document.title)
    if document.original:
        document.original = clean(document.original)
    return document


def _digest(document: Document) -> bytes:
    """Return what tells a text from all others; a "harder" retelling may repeat its original's text."""
    kind = "story" if document.kind == "text" else document.kind
    return hashlib.sha256(f"{kind} {document.text.lower()}".encode()).digest()


def _kept(source: Source, corpus: Path, seen: set[bytes], card: SourceCard) -> Iterator[Document]:
    for document in source.read(corpus / source.folder):
        fit = _fit(document)
        if fit is None:
            card.refused += 1
            continue
        digest = _digest(fit)
        if digest in seen:
            card.duplicates += 1
            continue
        seen.add(digest)
        card.documents += 1
        card.held_out += fit.held_out
        card.words += len(fit.text.split())
        yield fit


def prepare(corpus: Path, out: Path, report: Callable[[str], None]) -> list[SourceCard]:
    """Read every source that `corpus` has, clean, deduplicate and label it into `out`.

    Returns the card of each source and writes them to `data_card.json`. Raises FileNotFoundError when
    none of the sources is there.
    """
    out.mkdir(parents=True, exist_ok=True)
    present = [source for source in SOURCES if (corpus / source.folder).is_dir()]
    if not present:
        raise FileNotFoundError(f"no known source below {corpus}")
    cards = {row["name"]: SourceCard(**row) for row in _read_cards(out)}
    seen: set[bytes] = set()
    common: frozenset[str] | None = None
    for source in present:
        path = document_path(out, source.name)
        if source.name in cards and path.exists():
            for document in read_documents(path):
                seen.add(_digest(document))
            report(f"{source.name}: prepared before")
            continue
        card = SourceCard(source.name, source.licence, source.credit, 0, 0, 0, 0, 0)
        documents = list(_kept(source, corpus, seen, card))
        if common is None:
            common = _common(out, present, documents)
        for document in documents:
            document.content = content_words(document.text, common)
        write_documents(path, documents)
        cards[source.name] = card
        (out / CARD).write_text(json.dumps([asdict(c) for c in cards.values()], indent=1), encoding="utf-8")
        report(f"{source.name}: {card.documents:,} documents, {card.words:,} words, {card.refused:,} refused")
    return list(cards.values())


def _common(out: Path, present: list[Source], documents: list[Document]) -> frozenset[str]:
    """Return the common words, counted once on the first source so that every run agrees."""
    path = out / "common_words.json"
    if path.exists():
        return frozenset(json.loads(path.read_text(encoding="utf-8")))
    words = common_words(document.text for document in documents)
    path.write_text(json.dumps(sorted(words)), encoding="utf-8")
    return words


def _read_cards(out: Path) -> list[dict[str, Any]]:
    path = out / CARD
    return list(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else []
