"""How much of a story stands word for word in the training text.

Reads the training text once for all stories together and keeps only the stories in memory, so that any amount
of training text does. Exact: hashes find candidates, words decide. Knows nothing of models.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.scorecard.metrics import words_of

GRAM = 8
TABLE_BITS = 22
SHIFT = np.uint64(64 - TABLE_BITS)
Ids = npt.NDArray[np.uint64]


@dataclass
class Copied:
    """What of one story is found in training text: 8-grams found and in all, the longest run in words.

    `longest` is 0 when no run of 8 words is found.
    """

    found: int
    grams: int
    longest: int

    @property
    def share(self) -> float | None:
        """Share of 8-grams found, 0 … 1, None below 8 words (Lee et al. 2022, arXiv:2107.06499)."""
        return self.found / self.grams if self.grams else None


def copied(stories: Sequence[str], training: Iterable[str]) -> list[Copied]:
    """Return for each story what of it stands in one of the training texts."""
    words = [words_of(story) for story in stories]
    numbers = {word: number for number, word in enumerate(sorted({w for ws in words for w in ws}), start=1)}
    # One random number a word; 0, any other word, has one that no story's 8-gram holds.
    codes = np.random.default_rng(0).integers(1, 2**63, len(numbers) + 1, dtype=np.uint64)
    rows = [np.array([numbers[word] for word in ws], dtype=np.int64) for ws in words]
    places: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for story, row in enumerate(rows):
        for start, code in enumerate(_hashes(row, codes).tolist()):
            places[code].append((story, start))
    # A table over the first bits answers nearly every look-up with no; the dictionary decides the rest.
    table = np.zeros(1 << TABLE_BITS, dtype=bool)
    table[np.array(list(places), dtype=np.uint64) >> SHIFT] = True
    seen = [np.zeros(max(0, len(row) - GRAM + 1), dtype=bool) for row in rows]
    longest = [0] * len(rows)
    for text in training:
        row = np.array([numbers.get(word, 0) for word in words_of(text)], dtype=np.int64)
        hashes = _hashes(row, codes)
        for start in np.flatnonzero(table[hashes >> SHIFT]).tolist():
            for story, place in places.get(int(hashes[start]), ()):
                length = _common(rows[story], place, row, start)
                if length >= GRAM:
                    seen[story][place] = True
                    longest[story] = max(longest[story], length)
    return [Copied(int(found.sum()), len(found), most) for found, most in zip(seen, longest, strict=True)]


def _hashes(row: npt.NDArray[np.int64], codes: Ids) -> Ids:
    """Return one number for each 8-gram of word numbers: sums of the codes, each times an odd power."""
    count = len(row) - GRAM + 1
    if count <= 0:
        return np.zeros(0, dtype=np.uint64)
    coded = codes[row]
    total = np.zeros(count, dtype=np.uint64)
    for place in range(GRAM):
        total = total * np.uint64(0x9E3779B97F4A7C15) + coded[place : place + count]
    return total


def _common(story: npt.NDArray[np.int64], place: int, text: npt.NDArray[np.int64], start: int) -> int:
    """Return how many words the two have in common from these places on."""
    size = min(len(story) - place, len(text) - start)
    differ = np.flatnonzero(story[place : place + size] != text[start : start + size])
    return int(differ[0]) if len(differ) else size
