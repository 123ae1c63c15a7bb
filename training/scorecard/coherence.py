"""Whether a sentence goes on from the one before it: shared words and people, nearness of meaning.

Pure functions of texts and vectors. Knows nothing of models: vectors are given by others.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from engine.lexicon import lemma
from training.scorecard.metrics import sentences_of, words_of
from training.scorecard.people import PRONOUNS, name_genders, names_in, person_genders

MIN_SENTENCES = 4
Vectors = npt.NDArray[np.float32]

# Too plain to make two sentences speak of the same thing.
_PLAIN = """
    about after again all also always and another any are around away back bad because become before began
    begin big but came can come could day did do does don't done down each even ever every everything feel
    felt find first for from get give go good got great had happy has have hear heard her hers here him his
    how i'm into it's its just keep know last laugh let like little long look made make many may more most
    much must my never new next nice nothing now of off old on once one only other our out over put ran
    really right run said same saw say see shall she should small smile so some something soon start stay
    stop such take tell than that the their them then there these they thing think this those three time to
    told too took try turn two under until up us use very walk want was way we well went were what when
    where which while who why will with would yes you your
"""
_PLAIN_WORDS = frozenset(_PLAIN.split())


def _content(sentence: str) -> frozenset[str]:
    """Return lemmas of the words that carry meaning, names included, in lower case."""
    found = set()
    for word in words_of(sentence):
        base = lemma(word.removesuffix("'s"))
        if len(base) >= 3 and not {word, base} & _PLAIN_WORDS and base not in PRONOUNS:
            found.add(base)
    return frozenset(found)


def _people(sentence: str) -> frozenset[str]:
    """Return "he", "she", "they" for those whom a sentence speaks of by name, noun or pronoun."""
    words = words_of(sentence)
    found = {PRONOUNS.get(word) or person_genders().get(word, "") for word in words}
    found |= {name_genders().get(name, "any") for name in names_in(sentence)}
    if {"they", "them", "their"} & set(words):
        found.add("they")
    return frozenset(found - {""})


def _goes_on(before: str, after: str) -> bool:
    if _content(before) & _content(after):
        return True
    pronouns = {PRONOUNS[word] for word in words_of(after) if word in PRONOUNS}
    return bool(pronouns & _people(before)) or bool(pronouns and "any" in _people(before))


def continuity(text: str) -> float | None:
    """Return the share of sentences that go on from the one before, 0 … 1; None below four sentences.

    A sentence goes on when it shares a name or a word that carries meaning with the one before, or when its
    *he* or *she* can mean somebody in it: the idea of the entity grid (Barzilay and Lapata 2008) without its
    grammar. Higher is better; falls when sentences of other stories come in, not when the order changes.
    """
    parts = sentences_of(text)
    if len(parts) < MIN_SENTENCES:
        return None
    links = [_goes_on(before, after) for before, after in pairwise(parts)]
    return sum(links) / len(links)


def opens_well(text: str) -> float | None:
    """Return 1 when no *he* or *she* of the story's first sentence lacks somebody whom it can mean, else 0.

    None for an empty text. The name may follow in the same sentence (*When he woke, Tom …*). Higher is
    better; falls under shuffling.
    """
    parts = sentences_of(text)
    if not parts:
        return None
    pronouns = {PRONOUNS[word] for word in words_of(parts[0]) if word in PRONOUNS}
    named = {person_genders().get(word, "") for word in words_of(parts[0])}
    named |= {name_genders().get(name, "any") for name in names_in(parts[0])}
    return float(not pronouns or "any" in named or pronouns <= named)


def neighbours(vectors: Vectors) -> float | None:
    """Return the mean cosine of neighbouring sentences, -1 … 1; None below four sentences.

    `vectors` [sentences, size] are of unit length. High where a story keeps to its subject.
    """
    if len(vectors) < MIN_SENTENCES:
        return None
    return float(np.mean(np.sum(vectors[:-1] * vectors[1:], axis=1)))
