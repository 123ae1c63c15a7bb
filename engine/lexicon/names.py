"""Whether a word that a learner asked for is a name: names are matched exactly, common words are not.

The rule, for one word: it starts with a capital and has a lower-case letter (so "DINNER" is no name), and
  0. it has a capital inside (McDonald), or
  1. it is in our list of first names, and its lower-case form is not a common word (A1 or A2), or
  2. it is in that list with a "!" (Will, Mark, Bill: names first of all), or
  3. no dictionary has its lower-case form, or only as a proper noun (London, Zogg).
So "Dinner", "Dragon" and "Rose" are common words, "Tom" and "Will" are names; days, months, languages are
no names. Several words are a name when all start with a capital (of, the, de, van … aside) and one is a name.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from engine.lexicon.tables import cefr_parts, headwords, inflections, name_lists, own_levels

_COMMON = 2.5  # rounds to A2
_PARTICLES = frozenset(
    {"al", "and", "bin", "da", "de", "del", "der", "di", "el", "la", "le", "of", "the", "van", "von", "y"}
)
_POSSESSIVE = re.compile(r"['’]s?$")


def in_dictionary(lower: str) -> bool:
    """Return whether a lower-case word is known as something else than a proper noun first of all."""
    if lower in own_levels() or inflections(lower) or headwords(lower):
        return True
    parts = cefr_parts(lower)
    common = [level for part, level in parts.items() if not part.startswith("NNP")]
    proper = [level for part, level in parts.items() if part.startswith("NNP")]
    return bool(common) and (not proper or min(common) < min(proper))


def _is_common(lower: str) -> bool:
    own = own_levels().get(lower)
    if own is not None:
        return own <= _COMMON
    # cefrpy guesses levels from books: "anna", "marie" and "maya" have one and are in no dictionary.
    if not inflections(lower) and not headwords(lower):
        return False
    # A word such as "bob" that is known as a proper noun and nothing else is not common.
    return any(level <= _COMMON for part, level in cefr_parts(lower).items() if not part.startswith("NNP"))


def _single(word: str) -> bool:
    if not word[:1].isupper():
        return False
    names, firm, never = name_lists()
    if word in never:
        return False
    if word in firm:
        return True
    lower = word.lower()
    if word in names:
        return word.isupper() or not _is_common(lower)
    if word.isupper():
        return False
    if any(char.isupper() for char in word[1:]) and "-" not in word:
        return True
    if "-" in word:
        return any(_single(part) for part in word.split("-")) and all(
            part[:1].isupper() or part in _PARTICLES for part in word.split("-")
        )
    return not in_dictionary(lower)


@lru_cache(maxsize=8192)
def is_name(word: str) -> bool:
    """Return whether `word`, as a learner typed it, is a name (rule: see the module)."""
    tokens = _POSSESSIVE.sub("", unicodedata.normalize("NFC", word)).split()
    main = [token for token in tokens if token not in _PARTICLES]
    if not main or not all(token[:1].isupper() for token in main):
        return False
    return any(_single(token) for token in main)
