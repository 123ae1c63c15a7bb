"""A genre classifier: logistic regression on story embeddings. Knows nothing of sources."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.schema import Genre
from training.data.embeddings import Vectors

# Weight of the data against the penalty: 1, 3 and 10 do alike on folds of the training part, 0.3 worse.
PENALTY = 3.0
# What a pseudo-label must reach among held-out stories before it is believed.
PRECISION = 0.8


@dataclass(frozen=True)
class GenreFigures:
    """How well genres are told apart on stories that were not learned from; shares are 0…1.

    `per_genre` holds (precision, recall, stories). `confused` holds the genre written, the genre read and how
    often, worst first. At `threshold` confidence the precision is `PRECISION` or more, over `kept` of them.
    """

    stories: int
    top1: float
    top2: float
    per_genre: dict[str, tuple[float, float, int]]
    confused: list[tuple[str, str, int]]
    threshold: float
    kept: float


class GenreClassifier:
    """Ten genres from embeddings [n, 384]; not usable before `fit` or `load`."""

    def __init__(self) -> None:
        self._genres: list[Genre] = []
        self._weights = np.zeros((0, 0))
        self._bias = np.zeros(0)

    def fit(self, vectors: Vectors, genres: Sequence[Genre]) -> None:
        """Learn from vectors and their genres (at least two kinds). Deterministic."""
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=PENALTY, max_iter=500)
        model.fit(vectors.astype(np.float64), [genre.value for genre in genres])
        weights, bias = model.coef_, model.intercept_
        if len(model.classes_) == 2:
            # Two classes come as one row, the second's odds.
            weights, bias = np.vstack([-weights / 2, weights / 2]), np.concatenate([-bias / 2, bias / 2])
        self._genres = [Genre(name) for name in model.classes_]
        self._weights, self._bias = weights, bias

    def probabilities(self, vectors: Vectors) -> NDArray[np.float64]:
        """Return the probability of each genre of `genres`, [n, genres]."""
        scores = vectors.astype(np.float64) @ self._weights.T + self._bias
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(scores / scores.sum(axis=1, keepdims=True))

    @property
    def genres(self) -> list[Genre]:
        """The genres that it tells apart, in the order of `probabilities`."""
        return list(self._genres)

    def predict(self, vectors: Vectors) -> list[tuple[Genre, float]]:
        """Return the likeliest genre of each row and its probability."""
        if not len(vectors):
            return []
        rows = self.probabilities(vectors)
        return [(self._genres[int(row.argmax())], float(row.max())) for row in rows]

    def save(self, path: Path) -> None:
        """Write the classifier as an npz file of plain arrays."""
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.savez(file, genres=np.array(self._genres), weights=self._weights, bias=self._bias)
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> GenreClassifier:
        """Read what `save` wrote. Raises FileNotFoundError or ValueError."""
        classifier = cls()
        with np.load(path, allow_pickle=False) as arrays:
            classifier._genres = [Genre(str(name)) for name in arrays["genres"]]
            classifier._weights, classifier._bias = arrays["weights"], arrays["bias"]
        return classifier


def figures(classifier: GenreClassifier, vectors: Vectors, genres: Sequence[Genre]) -> GenreFigures:
    """Measure a classifier on stories that it has not learned from."""
    rows = classifier.probabilities(vectors)
    order = np.argsort(-rows, axis=1, kind="stable")
    names = classifier.genres
    read = [names[int(row[0])] for row in order]
    right = np.array([a is b for a, b in zip(read, genres, strict=True)])
    second = [b in (names[int(row[0])], names[int(row[1])]) for row, b in zip(order, genres, strict=True)]
    per_genre: dict[str, tuple[float, float, int]] = {}
    for genre in names:
        is_read, is_written = np.array([r is genre for r in read]), np.array([g is genre for g in genres])
        hits = float((is_read & is_written).sum())
        precision, recall = hits / max(1, is_read.sum()), hits / max(1, is_written.sum())
        per_genre[genre.value] = (round(precision, 3), round(recall, 3), int(is_written.sum()))
    wrong = Counter((b.value, a.value) for a, b in zip(read, genres, strict=True) if a is not b)
    confused = [(a, b, count) for (a, b), count in sorted(wrong.items(), key=lambda x: (-x[1], x[0]))[:6]]
    threshold, kept = _threshold(rows.max(axis=1), right)
    return GenreFigures(
        len(genres),
        round(float(right.mean()), 4),
        round(float(np.mean(second)), 4),
        per_genre,
        confused,
        threshold,
        kept,
    )


def _threshold(confidence: NDArray[np.float64], right: NDArray[Any]) -> tuple[float, float]:
    """Return the lowest confidence (in steps of 0.01) with the precision wanted, and the share above it."""
    for step in range(100):
        chosen = confidence >= step / 100
        if chosen.any() and right[chosen].mean() >= PRECISION:
            return step / 100, round(float(chosen.mean()), 4)
    return 1.0, 0.0
