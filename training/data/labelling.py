"""Labels that need embeddings: storyline and the vector that genre is read from, in chunks kept on disk.

A chunk is named by what it holds, so a killed run repeats at most one, and a run over more documents goes on
after those that were labelled before. Knows nothing of sources or of genres.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from training.data.embeddings import WIDTH, Embedder, Vectors
from training.data.storyline import Storyliner
from training.data.whole_files import write_json

# Raised whenever storylines or vectors of the same text would come out otherwise.
VERSION = 1
CHUNK = 512
Progress = Callable[[int], None]


def _name(kind: str, texts: Sequence[str]) -> str:
    digest = hashlib.sha256(json.dumps([VERSION, kind, *texts]).encode()).hexdigest()
    return f"{kind}-{digest[:20]}"


def chosen(texts: Sequence[str], limit: int | None) -> list[int]:
    """Return the indices of at most `limit` texts in the order of their hashes: a subset without a pattern,
    whose smaller ones begin its larger ones."""
    order = sorted(range(len(texts)), key=lambda index: hashlib.sha256(texts[index].encode()).digest())
    return order[:limit]


class Labeller:
    """Labels texts, from the chunks in `folder` where they are there."""

    def __init__(self, folder: Path, embedder: Embedder) -> None:
        self._folder, self._embedder = folder, embedder
        folder.mkdir(parents=True, exist_ok=True)

    def vectors(self, texts: Sequence[str], progress: Progress = lambda done: None) -> Vectors:
        """Return the embeddings of whole texts, [n, 384]."""
        rows = []
        for start in range(0, len(texts), CHUNK):
            part = texts[start : start + CHUNK]
            path = self._folder / f"{_name('vectors', part)}.npy"
            if not path.exists():
                _save(path, self._embedder.encode(part))
            rows.append(np.load(path, allow_pickle=False))
            progress(start + len(part))
        return np.concatenate(rows) if rows else np.zeros((0, WIDTH), np.float32)

    def storylines(self, texts: Sequence[str], progress: Progress = lambda done: None) -> list[list[str]]:
        """Return the storyline of each text."""
        found: list[list[str]] = []
        for start in range(0, len(texts), CHUNK):
            part = texts[start : start + CHUNK]
            path = self._folder / f"{_name('storylines', part)}.json"
            if not path.exists():
                # A new one for each chunk: words embedded in other company differ in their last digits.
                liner = Storyliner(self._embedder)
                liner.learn(part)
                lines = [[keyword.word for keyword in line] for line in liner.find(part)]
                write_json(path, lines)
            found += json.loads(path.read_text(encoding="utf-8"))
            progress(start + len(part))
        return found


def _save(path: Path, rows: Vectors) -> None:
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.save(file, rows)
    part.replace(path)
