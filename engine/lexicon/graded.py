"""All lower-case word forms of level A1 to B2, for whoever must look ahead: which words may a text still use.

`data/graded_words.txt` holds what `engine.lexicon.levels` says of every form of cefrpy's and our own words;
asking it word by word takes minutes. `python -m engine.lexicon.graded` writes the file again.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from functools import lru_cache

from engine.lexicon.levels import entry_level, running_level
from engine.lexicon.tables import (
    BANDS,
    DATA,
    cefr_words,
    data_lines,
    inflections,
    own_inflections,
    own_levels,
)

FILE = "graded_words.txt"
HIGHEST = 4
# What stands before the "'t" of don't, isn't …
CONTRACTED = (
    *("ain", "aren", "can", "couldn", "didn", "doesn", "don", "hadn", "hasn", "haven", "isn", "mightn"),
    *("mustn", "needn", "shan", "shouldn", "wasn", "weren", "won", "wouldn"),
)
_PLAIN = re.compile(r"[a-z]+")


@lru_cache(maxsize=1)
def graded_words() -> dict[str, int]:
    """Return the level, 1 = A1 … 4 = B2, of every form up to B2. Read only."""
    found = dict.fromkeys(CONTRACTED, 1)
    for line in data_lines(FILE):
        band, *words = line.split()
        found.update(dict.fromkeys(words, BANDS.index(band) + 1))
    return found


def measured() -> Iterator[tuple[str, int]]:
    """Yield what the file holds, asked of the lexicon (minutes)."""
    entries = {*cefr_words(), *own_levels(), *own_inflections()[0]}
    easy = {word for word in entries if (level := entry_level(word)) and round(level) <= HIGHEST}
    candidates = easy | own_inflections()[1].keys()
    for word in easy:
        candidates.update(form for found in inflections(word).values() for form in found)
        candidates.update(own_inflections()[0].get(word, ()))
    for word in sorted(candidates):
        level = running_level(word) if _PLAIN.fullmatch(word) else None
        if level is not None and level <= HIGHEST:
            yield word, level


def write() -> None:
    """Measure every word and write the file."""
    lines = ["# Word forms by level: python -m engine.lexicon.graded"]
    found = list(measured())
    for number, band in enumerate(BANDS[:HIGHEST], start=1):
        words = " ".join(word for word, level in found if level == number)
        lines += [f"{band} {part}" for part in textwrap.wrap(words, 110)]
    (DATA / FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
