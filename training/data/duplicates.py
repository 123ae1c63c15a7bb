"""Near-duplicates by MinHash over word 5-grams. Knows nothing of sources or files.

Two texts are near-duplicates when their sets of 5-grams share 0.7 or more of their union (Jaccard), counted
exactly on the candidates that locality-sensitive hashing brings up.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from datasketch import MinHash, MinHashLSH

JACCARD = 0.7
GRAM = 5
# Bands of 96 values as MinHashLSH chooses them; its lower threshold misses fewer, the exact count decides.
VALUES = 96
CANDIDATE = 0.6
SEED = 1
SCHEME: Literal["affine32"] = "affine32"
# Shorter texts have so few 5-grams that one changed word decides; equal ones are found as exact duplicates.
LEAST_WORDS = 10


@dataclass(frozen=True, slots=True)
class Entry:
    """A text to compare. `group`: texts of one group may be alike (a story and its retelling)."""

    text: str
    group: str
    held_out: bool


@dataclass(frozen=True, slots=True)
class Match:
    """Entry `index` is left out because it is like entry `other`."""

    index: int
    other: int
    similarity: float


def shingles(text: str) -> frozenset[int]:
    """Return the hashed word 5-grams of a text, case and punctuation aside."""
    words = "".join(c if c.isalnum() or c == "'" else " " for c in text.lower()).split()
    size = min(GRAM, len(words))
    grams = (" ".join(words[at : at + size]).encode() for at in range(len(words) - size + 1))
    return frozenset(zlib.crc32(gram) for gram in grams)


def _same(value: int) -> int:
    return value


def jaccard(one: frozenset[int], other: frozenset[int]) -> float:
    """Return the shared part of two sets, 0…1."""
    union = len(one | other)
    return len(one & other) / union if union else 0.0


def near_duplicates(
    entries: Sequence[Entry], progress: Callable[[int], None] = lambda done: None
) -> list[Match]:
    """Return which entries to leave out, by index.

    Held-out entries are taken first, so that they stay and their likes leave training; within a side the
    earlier entry stays. Deterministic.
    """
    order = sorted(range(len(entries)), key=lambda index: (not entries[index].held_out, index))
    lsh = MinHashLSH(threshold=CANDIDATE, num_perm=VALUES)
    empty = MinHash(num_perm=VALUES, seed=SEED, hashfunc=_same, scheme=SCHEME)
    sets: dict[int, frozenset[int]] = {}
    found: list[Match] = []
    for done, index in enumerate(order):
        if done % 1000 == 0:
            progress(done)
        entry = entries[index]
        if len(entry.text.split()) < LEAST_WORDS:
            continue
        grams = shingles(entry.text)
        signature = empty.copy()
        signature.update_batch(sorted(grams))
        likes = [
            (jaccard(grams, sets[other]), -other)
            for other in lsh.query(signature)
            if entries[other].group != entry.group
        ]
        best = max(likes, default=(0.0, 0))
        if best[0] >= JACCARD:
            found.append(Match(index, -best[1], round(best[0], 3)))
            continue
        sets[index] = grams
        lsh.insert(index, signature, check_duplication=False)
    progress(len(order))
    return sorted(found, key=lambda match: match.index)
