"""The block lists as look-up tables. The file format, one entry a line:

    [category]          the entries below count always; [category strict]: only in groups and classrooms
    word                the word and, in English, its inflections
    =word               this very form
    ~word               this form in lower case only (dick, not Dick)
    stem*  *part*       any word that starts with the stem, that holds the part
    /regex/             any word that the expression matches as a whole
    one|two three       a phrase; | parts alternatives for a place; English words count in any inflection;
                        ... stands for up to three words of any kind
    -word  -a phrase    never unsuitable, whatever the other lines say
    汉字                 Chinese is searched for anywhere in the text

Knows nothing of disguises and texts: engine.content.filter looks words up here.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from engine.content.disguises import fold
from engine.lexicon import forms

DATA = Path(__file__).resolve().parent.parent / "data"
LANGUAGES = ("en", "ru", "zh")
_HAN = re.compile(r"[\u3400-\u9fff]")
# Written with stars and digits, only these kinds are looked for: "m*rder" is a blot, not a disguise.
DISGUISED_KINDS = frozenset({"profanity", "sexual", "slurs"})


@dataclass(frozen=True, slots=True)
class Term:
    """One entry: as it stands in the list, its category, and whether it counts only in strict mode."""

    text: str
    category: str
    strict: bool


Slots = tuple[frozenset[str], ...]


@dataclass(slots=True)
class Lists:
    """All entries of all languages."""

    exact: dict[str, Term] = field(default_factory=dict)
    lower_only: dict[str, Term] = field(default_factory=dict)
    patterns: list[tuple[re.Pattern[str], Term]] = field(default_factory=list)
    phrases: dict[str, list[tuple[Slots, Term]]] = field(default_factory=lambda: defaultdict(list))
    pieces: dict[str, Term] = field(default_factory=dict)
    bases: dict[str, Term] = field(default_factory=dict)
    allowed: set[str] = field(default_factory=set)
    allowed_phrases: dict[str, list[Slots]] = field(default_factory=lambda: defaultdict(list))
    allowed_pieces: list[str] = field(default_factory=list)

    def piece_pattern(self) -> re.Pattern[str]:
        """Return one expression for all entries that are searched for anywhere, the longest first."""
        return _any_of(tuple(self.pieces))

    def word(self, word: str) -> Term | None:
        """Return the entry that a folded word falls under, None when it is suitable."""
        if word in self.allowed:
            return None
        found = self.exact.get(word)
        if found is None or found.strict:
            hits = [term for pattern, term in self.patterns if pattern.fullmatch(word)]
            found = min([*hits, *([found] if found else [])], key=lambda term: term.strict, default=None)
        return found


@lru_cache(maxsize=4)
def _any_of(pieces: tuple[str, ...]) -> re.Pattern[str]:
    # One space, dot or star between two characters does not hide them.
    spaced = [r"[\s.*_-]?".join(piece) for piece in sorted(pieces, key=len, reverse=True)]
    return re.compile("|".join(spaced))


def _variants(word: str, inflect: bool) -> frozenset[str]:
    if word.startswith("="):
        return frozenset({fold(word[1:]).text})
    return frozenset(fold(form).text for form in (forms(word) if inflect else (word,)))


def _slots(entry: str, inflect: bool) -> Slots:
    """Return the words allowed at each place; an empty set stands for "..."."""
    return tuple(
        frozenset().union(*(_variants(word, inflect) for word in place.split("|") if word != "..."))
        for place in entry.split()
    )


def _allow(lists: Lists, entry: str) -> None:
    if _HAN.search(entry):
        lists.allowed_pieces.append(entry)
    elif " " in entry:
        slots = _slots(entry, inflect=True)
        for first in slots[0]:
            lists.allowed_phrases[first].append(slots)
    else:
        lists.allowed.update(_variants(entry, inflect=True))


def _add_pattern(lists: Lists, entry: str, term: Term) -> None:
    if entry.startswith("/"):
        lists.patterns.append((re.compile(entry.strip("/")), term))
        return
    body = re.escape(fold(entry.strip("*")).text)
    before = r"\w*" if entry.startswith("*") else ""
    lists.patterns.append((re.compile(rf"{before}{body}\w*"), term))
    lists.bases.setdefault(fold(entry.strip("*")).text, term)


def _add(lists: Lists, entry: str, term: Term, inflect: bool) -> None:
    if _HAN.search(entry):
        lists.pieces.setdefault(entry, term)
    elif " " in entry:
        slots = _slots(entry, inflect)
        for first in slots[0]:
            lists.phrases[first].append((slots, term))
    elif entry.startswith("/") or "*" in entry:
        _add_pattern(lists, entry, term)
    elif entry.startswith("~"):
        lists.lower_only[entry[1:]] = term
        lists.bases.setdefault(entry[1:], term)
    else:
        for form in _variants(entry, inflect):
            lists.exact.setdefault(form, term)
            lists.bases.setdefault(form, term)


def _read(lists: Lists, path: Path, inflect: bool) -> None:
    category, strict = "", False
    for raw in path.read_text(encoding="utf-8").splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            category, _, mode = line.strip("[]").partition(" ")
            strict = mode == "strict"
        elif line.startswith("-"):
            _allow(lists, line[1:])
        else:
            _add(lists, line, Term(line, category, strict), inflect)


@lru_cache(maxsize=1)
def load() -> Lists:
    """Return the lists of all languages, read once."""
    lists = Lists()
    for language in LANGUAGES:
        _read(lists, DATA / f"blocklist_{language}.txt", inflect=language == "en")
    lists.bases = {
        word: term
        for word, term in lists.bases.items()
        if term.category in DISGUISED_KINDS and not term.strict and len(word) >= 3
    }
    return lists
