"""Every form that counts as a word: child -> children, look after -> looked after, colour -> colors.

The rules:
- A headword counts with all its inflections, comparison of adjectives included (good, better, best).
- A form that is itself a headword (building, left) counts with that headword's forms; one that is not
  (children, ran) with those of the word it comes from. `inflections.txt` settles the doubtful ones.
- British and American spellings count as one word.
- A phrase is inflected at its verb when it starts with one (looked after, takes a photo), at its last
  noun otherwise (ice creams). "to run", "a dog" and "look after sb" count without to, a, sb.
- Names and words of other scripts are exactly themselves; an unknown English word gets a plural.
Knows nothing of texts: engine.lexicon.matching finds the forms.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from engine.lexicon.names import is_name
from engine.lexicon.tables import (
    headwords,
    inflections,
    name_lists,
    own_inflections,
    regular_plural,
    spellings,
    word_class,
)

_TAG_ORDER = ("VBZ", "VBP", "VBD", "VBN", "VBG", "VB", "NNS", "NN", "JJR", "JJS", "RBR", "RBS")
_ENGLISH = re.compile(r"[a-z]+(?:'[a-z]+)?$")
_UNKNOWN_NOUN = re.compile(r"[a-z]{3,}$")


def plain(word: str) -> str:
    """Return `word` as the tables spell it: NFC, lower case, straight apostrophes, single spaces."""
    text = unicodedata.normalize("NFC", word).lower().replace("’", "'").replace("ʼ", "'")
    return " ".join(text.split())


def _function_words() -> frozenset[str]:
    return word_class("particles") | word_class("determiners") | word_class("closed")


def _other_spellings(headword: str) -> tuple[str, ...]:
    found = list(spellings().get(headword, ()))
    if len(headword) >= 6 and headword.endswith(("ise", "ize")):
        other = headword[:-2] + ("z" if headword[-2] == "s" else "s") + "e"
        if inflections(other):
            found.append(other)
    return tuple(found)


def _headword(lower: str) -> str:
    """Return the headword under which a lower-case word is counted; itself when it is one or is unknown."""
    extra, readings = own_inflections()
    if lower in readings:
        return readings[lower]
    if lower in extra or inflections(lower):
        return lower
    return next(iter(headwords(lower)), lower)


def _family(headword: str) -> list[str]:
    extra, _ = own_inflections()
    found: list[str] = []
    for spelling in (headword, *_other_spellings(headword)):
        table = inflections(spelling)
        found.append(spelling)
        found += [form for tag in _TAG_ORDER for form in table.get(tag, ())]
        found += extra.get(spelling, ())
    dropped = {form[1:] for form in found if form.startswith("-")}
    return [form for form in found if form not in dropped and not form.startswith("-")]


def _word_forms(lower: str) -> list[str]:
    if not _ENGLISH.match(lower):
        return []
    headword = _headword(lower)
    known = inflections(headword) or headword in own_inflections()[0] or headwords(headword)
    if not known and lower not in _function_words() and _UNKNOWN_NOUN.match(lower):
        return [*_family(headword), regular_plural(lower)]
    return _family(headword)


def _verb_forms(lower: str) -> list[str]:
    table = inflections(_headword(lower))
    found = [form for tag in _TAG_ORDER[:6] for form in table.get(tag, ())]
    if not found:
        return _word_forms(lower)
    return [
        form for form in _family(_headword(lower)) if form in {*found, *own_inflections()[0].get(lower, ())}
    ]


def _noun_forms(lower: str) -> list[str]:
    table = inflections(lower)
    if table:
        return [lower, *table.get("NNS", ()), *table.get("NN", ())]
    return _word_forms(lower)


def _leading_forms(tokens: list[str]) -> list[str]:
    table = inflections(_headword(tokens[0]))
    if (
        len(tokens) > 2
        and tokens[1] in ("of", "in")
        and "NNS" in table
        and tokens[0] not in word_class("verbs")
    ):
        return _noun_forms(tokens[0])  # cup of tea, sister-in-law
    if "VB" not in table and "JJR" in table:
        return [tokens[0], *table["JJR"], *table.get("JJS", ())]
    return _verb_forms(tokens[0]) if "VB" in table else _word_forms(tokens[0])


def _starts_with_verb(tokens: list[str]) -> bool:
    return (
        tokens[-1] in word_class("particles")
        or tokens[1] in word_class("determiners")
        or (len(tokens) > 2 and tokens[1] in word_class("particles"))
        or _headword(tokens[0]) in word_class("verbs")
    )


def _phrase_forms(lower: str) -> list[str]:
    tokens = re.split(r"[ -]", lower)
    gaps = re.findall(r"[ -]", lower)
    if len(tokens) < 2 or not all(_ENGLISH.match(token) for token in tokens):
        return []
    if tokens[0] == "to":
        rest = " ".join(tokens[1:])
        return [rest, *(_verb_forms(rest) if len(tokens) == 2 else _phrase_forms(rest))]
    if tokens[0] in ("a", "an", "the"):
        rest = " ".join(tokens[1:])
        return [rest, *(_noun_forms(rest) if len(tokens) == 2 else _phrase_forms(rest))]
    if tokens[-1] in ("sb", "sth"):
        rest = " ".join(tokens[:-1])
        return [rest, *(_word_forms(rest) if len(tokens) == 2 else _phrase_forms(rest))]
    if tokens[0] in _function_words():
        return []
    if _starts_with_verb(tokens):
        tail = "".join(gap + token for gap, token in zip(gaps, tokens[1:], strict=True))
        return [head + tail for head in _leading_forms(tokens)]
    lead = lower[: len(lower) - len(tokens[-1])]
    return [lead + last for last in _noun_forms(tokens[-1])]


def _always_capital(lower: str) -> bool:
    return lower.capitalize() in name_lists()[2] and not inflections(lower)


@lru_cache(maxsize=8192)
def forms(word: str) -> tuple[str, ...]:
    """Return every form that counts as `word`, the word itself first; any text is accepted."""
    if is_name(word):
        return (word,)
    lower = plain(word)
    if _always_capital(lower):
        return tuple(dict.fromkeys((word, *(form[:1].upper() + form[1:] for form in _word_forms(lower)))))
    if " " in lower or "-" in lower:
        found = [*_phrase_forms(lower), *spellings().get(lower, ())]
    else:
        found = _word_forms(lower)
    # A word of another script, a number, an emoji: exactly as given.
    return tuple(dict.fromkeys((word, lower, *found) if found else (word,)))


@lru_cache(maxsize=8192)
def lemma(word: str) -> str:
    """Return the dictionary form of `word`; names, phrases and words of other scripts are their own."""
    lower = plain(word)
    if is_name(word) or not _ENGLISH.match(lower) or word in name_lists()[2]:
        return word
    return lower.capitalize() if _always_capital(lower) else _headword(lower)
