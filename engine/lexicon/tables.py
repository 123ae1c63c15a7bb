"""The dictionaries behind the lexicon: lemminflect, cefrpy and our own small files in engine/data.

Each is read once, when first asked for. Knows the file formats, decides nothing about words.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parent.parent / "data"
BANDS = ("A1", "A2", "B1", "B2", "C1", "C2")


def data_lines(name: str) -> Iterator[str]:
    """Yield the lines of a data file that are neither empty nor comments."""
    for line in (DATA / name).read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            yield line.strip()


class _WithoutSpacy(MetaPathFinder):
    """While in place, spaCy counts as not installed, unless it is loaded already."""

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        """Refuse spaCy; leave all else to the other finders."""
        if name == "spacy":
            raise ModuleNotFoundError(name)


@lru_cache(maxsize=1)
def _lemminflect() -> Any:
    # Where it finds spaCy it loads it, for methods that we never call; that loads torch: 200 MB and seconds.
    finder = _WithoutSpacy()
    sys.meta_path.insert(0, finder)
    try:
        import lemminflect
    finally:
        sys.meta_path.remove(finder)
    return lemminflect


@lru_cache(maxsize=1)
def _cefr() -> Any:
    import cefrpy

    return cefrpy.CEFRAnalyzer()


def cefr_words() -> Iterator[str]:
    """Yield every word that cefrpy gives a level (170,000)."""
    yield from _cefr().yield_words()


@lru_cache(maxsize=16384)
def inflections(headword: str) -> dict[str, tuple[str, ...]]:
    """Return lemminflect's forms of a lower-case headword by Penn tag; {} when it is none. Read only."""
    table: dict[str, tuple[str, ...]] = _lemminflect().getAllInflections(headword)
    return {tag: tuple(form for form in found if "'" not in form) for tag, found in table.items()}


def regular_plural(word: str) -> str:
    """Return the plural that the rules give a noun that no dictionary has (selfie -> selfies)."""
    plural: str = _lemminflect().getAllInflectionsOOV(word, "NOUN")["NNS"][0]
    return plural


@lru_cache(maxsize=16384)
def headwords(form: str) -> tuple[str, ...]:
    """Return every headword that a lower-case form may belong to, by lemminflect's order; () if unknown."""
    found = _lemminflect().getAllLemmas(form)
    return tuple(dict.fromkeys(word for part in found.values() for word in part))


@lru_cache(maxsize=16384)
def cefr_parts(word: str) -> dict[str, float]:
    """Return cefrpy's levels (1.0 = A1 … 6.0 = C2) of a lower-case word by part of speech. Read only."""
    try:
        found: dict[str, float] = _cefr().get_pos_level_dict_for_word(word, True, True)
    except IndexError:
        # cefrpy's search runs off its table behind the last of its longest words (25 letters).
        return {}
    return found


@lru_cache(maxsize=1)
def own_levels() -> dict[str, int]:
    """Return our own levels, 1 = A1 … 6 = C2, by headword."""
    levels: dict[str, int] = {}
    for line in data_lines("levels.txt"):
        band, *words = line.split()
        levels.update(dict.fromkeys(words, BANDS.index(band) + 1))
    return levels


@lru_cache(maxsize=1)
def own_inflections() -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """Return (extra forms by headword, headword by form for forms that are read as another's)."""
    extra: dict[str, tuple[str, ...]] = {}
    readings: dict[str, str] = {}
    for line in data_lines("inflections.txt"):
        if "<" in line:
            form, headword = line.split(" < ")
            readings[form] = headword
        else:
            headword, _, words = line.partition(":")
            extra[headword] = tuple(words.split())
    return extra, readings


@lru_cache(maxsize=1)
def spellings() -> dict[str, tuple[str, ...]]:
    """Return the other spellings (British, American) of each word of the table, both ways."""
    others: dict[str, list[str]] = defaultdict(list)
    for line in data_lines("spelling.txt"):
        group = line.split()
        for word in group:
            others[word] += [other for other in group if other != word]
    return {word: tuple(found) for word, found in others.items()}


@lru_cache(maxsize=8)
def word_class(name: str) -> frozenset[str]:
    """Return the words of one class of data/phrases.txt."""
    return frozenset(next(line for line in data_lines("phrases.txt") if line.startswith(name)).split()[1:])


@lru_cache(maxsize=1)
def name_lists() -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """Return (names, names that win over a common word, capitalised words that are no names)."""
    names: set[str] = set()
    firm: set[str] = set()
    never: set[str] = set()
    section = names
    for line in data_lines("names.txt"):
        if line == "[never]":
            section = never
            continue
        for word in line.split():
            section.add(word.lstrip("!"))
            if word.startswith("!"):
                firm.add(word[1:])
    return frozenset(names), frozenset(firm), frozenset(never)
