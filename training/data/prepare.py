"""From corpus folders to documents ready for training, with a data card: reading, near-duplicates, labels.

Deterministic. Each step leaves its result below `stages/` and `labels/`, so a killed run goes on where it
stopped; `stages/` and `labels/` may be deleted when all is done. Finished files are put in place only at the
end, so training never sees half of them. Knows nothing of models.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from training.data.annotation import (
    HEART,
    LABELLED,
    Genres,
    Watch,
    label_by_meaning,
    label_plainly,
    learn_genres,
)
from training.data.card import CARD as CARD
from training.data.card import DataCard, SourceCard, count, load_card, set_shares
from training.data.documents import Document, read_documents, write_documents
from training.data.duplicates import Entry, near_duplicates
from training.data.embeddings import Embedder
from training.data.labelling import Labeller
from training.data.labels import common_words
from training.data.readers import CorpusError
from training.data.reading import Reading, read_source
from training.data.sources import SOURCES, Source
from training.data.whole_files import write_json

# Raised whenever the same files would be prepared otherwise.
VERSION = 3
OWN_CORPUS = Path(__file__).parents[1] / "corpus"
CLASSIFIER = "genre_classifier.npz"
LINE_SECONDS = 15
Report = Callable[[str], None]


def document_path(folder: Path, source: str) -> Path:
    """Return where the prepared documents of a source stand."""
    return folder / f"{source}.jsonl"


def spoken(report: Report) -> Watch:
    """Return a watch that tells how far a step is as a line, at most every 15 seconds."""
    last = [time.monotonic()]

    def watch(step: str, done: int, total: int) -> None:
        if time.monotonic() - last[0] >= LINE_SECONDS:
            last[0] = time.monotonic()
            report(f"{step}: {done:,} of {total:,}" if total else f"{step}: {done:,}")

    return watch


def prepare(
    corpus: Path,
    out: Path,
    report: Report,
    *,
    meaning: bool = True,
    limit: int | None = None,
    watch: Watch | None = None,
) -> DataCard:
    """Read every permitted source, clean, deduplicate and label it into `out`; return the data card.

    Our own texts are taken from this repository where `corpus` lacks them. Without `meaning` the labels that
    need embeddings (genre, storyline) are left out; `limit` bounds the documents of a source that get them.
    Raises FileNotFoundError when `corpus` is a folder without any known source, CorpusError for a bad file.
    """
    return _Preparation(corpus, out, report, meaning, limit, watch or spoken(report)).run()


def _hash(*values: object) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:32]


class _Preparation:
    def __init__(
        self, corpus: Path, out: Path, report: Report, meaning: bool, limit: int | None, watch: Watch
    ) -> None:
        self._corpus, self._out, self._report, self._watch = corpus, out, report, watch
        self._meaning, self._limit = meaning, limit
        self._sources = self._present()
        self._files = self._fingerprint()
        self._key = _hash(self._files, meaning, limit, LABELLED)
        self._stages = out / "stages"
        self._readings: dict[str, Reading] = {}

    def run(self) -> DataCard:
        done = load_card(self._out)
        if done and done.key == self._key and all(self._path(s).exists() for s in self._sources):
            for source in self._sources:
                self._report(f"{source.name}: prepared before")
            return done
        self._open_stages()
        documents = self._read_all()
        cards = {s.name: SourceCard(s.name, s.licence, s.credit) for s in self._sources}
        self._leave_out_likes(documents, cards)
        card = DataCard(self._key, list(cards.values()))
        self._label(documents, card)
        for source in self._sources:
            row, reading = cards[source.name], self._readings[source.name]
            row.refused, row.duplicates = sum(reading.refused.values()), reading.duplicates
            row.refused_for = dict(sorted(reading.refused.items()))
            write_documents(self._path(source), documents[source.name])
            count(row, documents[source.name])
            self._report(
                f"{row.name}: {row.documents:,} documents, {row.words:,} words, {row.refused:,} refused"
            )
        set_shares(card.sources)
        card.save(self._out)
        return card

    def _path(self, source: Source) -> Path:
        return document_path(self._out, source.name)

    def _folder(self, name: str) -> Path:
        given = self._corpus / name
        return given if given.is_dir() or not (OWN_CORPUS / name).is_dir() else OWN_CORPUS / name

    def _present(self) -> list[Source]:
        if self._corpus.is_dir() and not any((self._corpus / s.folder).is_dir() for s in SOURCES):
            raise FileNotFoundError(
                f"no known source below {self._corpus}: it should hold folders such as {SOURCES[0].folder}"
            )
        present = [source for source in SOURCES if self._folder(source.folder).is_dir()]
        if not present:
            raise FileNotFoundError(
                f"there is no folder {self._corpus}, and this copy has no texts of its own"
            )
        if not self._corpus.is_dir():
            self._report(f"no folder {self._corpus}: Wordtale's own texts alone are prepared")
        return present

    def _fingerprint(self) -> str:
        """Return a hash of the source files and of the version of these rules."""
        digest = hashlib.sha256(f"version {VERSION}".encode())
        for source in self._sources:
            digest.update(source.name.encode())
            for path in sorted(self._folder(source.folder).glob("*.gz")):
                digest.update(path.name.encode())
                digest.update(path.read_bytes())
        return digest.hexdigest()[:32]

    def _open_stages(self) -> None:
        """Make the folder of half-done work; throw away what other files or rules left there."""
        self._out.mkdir(parents=True, exist_ok=True)
        key = self._stages / "key"
        if self._stages.exists() and (not key.exists() or key.read_text(encoding="utf-8") != self._files):
            shutil.rmtree(self._stages)
        self._stages.mkdir(exist_ok=True)
        key.write_text(self._files, encoding="utf-8")

    def _read_all(self) -> dict[str, list[Document]]:
        seen: set[bytes] = set()
        documents: dict[str, list[Document]] = {}
        for source in self._sources:
            path, note = self._stages / f"{source.name}.jsonl", self._stages / f"{source.name}.json"
            if not note.exists():
                reading = Reading()
                texts = read_source(
                    source,
                    self._folder,
                    seen,
                    reading,
                    partial(self._watch, f"{source.name}: reading", total=0),
                )
                kept = write_documents(path, texts)
                write_json(note, [reading.refused, reading.duplicates])
                self._report(f"{source.name}: {kept:,} documents read")
            refused, duplicates = json.loads(note.read_text(encoding="utf-8"))
            self._readings[source.name] = Reading(Counter(refused), duplicates)
            documents[source.name] = list(read_documents(path))
            seen.update(document.digest for document in documents[source.name])
        return documents

    def _leave_out_likes(self, documents: dict[str, list[Document]], cards: dict[str, SourceCard]) -> None:
        """Drop near-duplicates from `documents` and count them."""
        flat = [document for found in documents.values() for document in found]
        path = self._stages / "near.json"
        if not path.exists():
            entries = [Entry(d.text, d.group, d.held_out) for d in flat]
            matches = near_duplicates(entries, lambda done: self._watch("near-duplicates", done, len(flat)))
            write_json(path, [[m.index, m.other] for m in matches])
            self._report(f"near-duplicates: {len(matches):,} of {len(flat):,} documents left out")
        gone: set[int] = set()
        for index, other in json.loads(path.read_text(encoding="utf-8")):
            gone.add(index)
            row = cards[flat[index].source]
            row.near_duplicates += 1
            row.near_held_out += flat[other].held_out and not flat[index].held_out
        start = 0
        for name, found in documents.items():
            documents[name] = [d for index, d in enumerate(found, start) if index not in gone]
            start += len(found)

    def _label(self, documents: dict[str, list[Document]], card: DataCard) -> None:
        heart = documents.get(HEART) or next(iter(documents.values()))
        common = self._common(heart)
        for number, (name, found) in enumerate(documents.items()):
            self._watch("levels and words", number, len(documents))
            levels = label_plainly(found, common)
            if levels:
                card.levels[name] = levels
        if not self._meaning:
            return
        labeller = Labeller(self._out / "labels", Embedder())
        genres = self._genres(documents.get(HEART, ()), labeller)
        card.genre = genres.figures if genres else None
        for name, found in documents.items():
            label_by_meaning(name, found, labeller, genres, self._limit, self._watch)

    def _genres(self, stories: Sequence[Document], labeller: Labeller) -> Genres | None:
        genres = learn_genres(stories, labeller, self._limit, self._watch)
        if genres is None:
            self._report("no genre classifier: too few stories with a genre, or none held out")
            return None
        genres.classifier.save(self._out / CLASSIFIER)
        return genres

    def _common(self, heart: Sequence[Document]) -> frozenset[str]:
        """Return the common words of the first source, and leave them beside the data."""
        words = common_words(document.text for document in heart)
        write_json(self._out / "common_words.json", sorted(words))
        return words


__all__ = ["CARD", "CLASSIFIER", "OWN_CORPUS", "CorpusError", "document_path", "prepare", "spoken"]
