"""Batches of examples, drawn from the sources by weight: a function of the seed and of one counter.

The position is a small JSON value, so a killed run goes on with the very next batch. Documents of like
length share a batch, padded on the right: no document sees another, and little is wasted.
Knows nothing of models.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.prompts.codec import Codec
from training.data.documents import Document, read_documents
from training.data.examples import DEFAULT_SHARES, IGNORE, Example, WordShares, render
from training.data.prepare import document_path

POOL_EXAMPLES = 2048


@dataclass
class Batch:
    """Token ids [rows, length] (int64), targets of the same shape (IGNORE where no loss is taken)."""

    ids: torch.Tensor
    targets: torch.Tensor
    tokens: int


@dataclass
class _Source:
    documents: list[Document]
    share: float
    order: list[int] = field(default_factory=list)


class Stream:
    """Endless batches of about `batch_tokens` padded tokens.

    `weights` give each source's share of the tokens, `shares` where the words of a condition come from.
    `position` holds the number of the pool that is being drawn and the batch within it, with how far each
    source has been read when that pool began.
    """

    def __init__(
        self,
        folder: Path,
        weights: Mapping[str, float],
        codec: Codec,
        *,
        batch_tokens: int,
        context: int,
        seed: int,
        shares: WordShares = DEFAULT_SHARES,
    ) -> None:
        self._shares = shares
        self._codec, self._batch_tokens, self._context, self._seed = codec, batch_tokens, context, seed
        self._sources: dict[str, _Source] = {}
        for name, share in weights.items():
            path = document_path(folder, name)
            if not path.exists() or share <= 0:
                continue
            documents = [document for document in read_documents(path) if not document.held_out]
            words = sum(len(d.text.split()) for d in documents) / max(1, len(documents))
            if documents:
                self._sources[name] = _Source(documents, share / words)
        if not self._sources:
            raise FileNotFoundError(f"no prepared source of {sorted(weights)} in {folder}")
        self._position: dict[str, Any] = {"pool": 0, "batch": 0, "cursors": dict.fromkeys(self._sources, 0)}
        self._pool: list[Batch] | None = None
        self._after: dict[str, int] = {}

    @property
    def position(self) -> dict[str, Any]:
        """Where the next batch comes from; JSON-able, to be given to `seek`."""
        return {**self._position, "cursors": dict(self._position["cursors"])}

    def seek(self, position: Mapping[str, Any]) -> None:
        """Go on from a `position`. Sources that it does not name are read from their start."""
        cursors = {name: int(position["cursors"].get(name, 0)) for name in self._sources}
        self._position = {"pool": int(position["pool"]), "batch": int(position["batch"]), "cursors": cursors}
        self._pool = None

    def epochs(self) -> dict[str, float]:
        """How often each source has been read so far."""
        cursors = self._position["cursors"]
        return {name: cursors[name] / len(source.documents) for name, source in self._sources.items()}

    def next(self) -> Batch:
        """Return the next batch."""
        if self._pool is None:
            self._pool = self._fill()
        pool = self._pool
        batch = pool[int(self._position["batch"])]
        self._position["batch"] += 1
        if self._position["batch"] == len(pool):
            self._position = {"pool": self._position["pool"] + 1, "batch": 0, "cursors": self._after}
            self._pool = None
        return batch

    def _draw(self, name: str, cursor: int) -> Document:
        source = self._sources[name]
        epoch, place = divmod(cursor, len(source.documents))
        if place == 0 or not source.order:
            order = np.random.default_rng([self._seed, epoch, sum(name.encode())])
            source.order = order.permutation(len(source.documents)).tolist()
        return source.documents[source.order[place]]

    def _fill(self) -> list[Batch]:
        rng = random.Random(f"{self._seed} {self._position['pool']}")
        names = list(self._sources)
        shares = [self._sources[name].share for name in names]
        cursors = dict(self._position["cursors"])
        for source in self._sources.values():
            source.order = []
        examples: list[Example] = []
        for name in rng.choices(names, shares, k=POOL_EXAMPLES):
            document = self._draw(name, cursors[name])
            cursors[name] += 1
            examples.append(render(document, self._codec, rng, self._context, shares=self._shares))
        self._after = cursors
        batches = [collate(rows) for rows in by_length(examples, self._batch_tokens)]
        rng.shuffle(batches)
        return batches


def by_length(examples: list[Example], batch_tokens: int) -> list[list[Example]]:
    """Group examples of like length so that rows x longest stays within `batch_tokens`."""
    groups: list[list[Example]] = []
    held: list[Example] = []
    for example in sorted(examples, key=lambda e: len(e.ids)):
        if held and (len(held) + 1) * len(example.ids) > batch_tokens:
            groups.append(held)
            held = []
        held.append(example)
    if held:
        groups.append(held)
    return groups


def collate(examples: list[Example], pad: int = 0) -> Batch:
    """Pad examples on the right into one batch; the target of each id is the next one."""
    longest = max(len(example.ids) for example in examples)
    ids = torch.full((len(examples), longest), pad, dtype=torch.long)
    targets = torch.full((len(examples), longest), IGNORE, dtype=torch.long)
    for row, example in enumerate(examples):
        size = len(example.ids)
        values = torch.tensor(example.ids, dtype=torch.long)
        ids[row, :size] = values
        first = max(0, example.prompt - 1)
        targets[row, first : size - 1] = values[first + 1 :]
    return Batch(ids, targets, sum(len(example.ids) for example in examples))
