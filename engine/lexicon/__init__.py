"""Words as learners count them: inflections, names, CEFR levels, and where they stand in a text.

`from engine.lexicon import forms, match, …` is the whole public door; the modules behind it split the
work (tables: our data files, names, inflection, folding and matching: spans, levels). Knows English;
words of other scripts are kept as given. Knows nothing of models, prompts or HTTP. lemminflect and
cefrpy are loaded at the first word that needs them, not at import.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.lexicon.graded import graded_words
from engine.lexicon.inflection import forms, lemma
from engine.lexicon.levels import level, level_report
from engine.lexicon.matching import match, used_words
from engine.lexicon.names import is_name
from engine.schema import LexiconEntry

__all__ = [
    "forms",
    "graded_words",
    "is_name",
    "lemma",
    "level",
    "level_report",
    "lookup",
    "match",
    "used_words",
]


def lookup(words: Sequence[str]) -> list[LexiconEntry]:
    """Return one entry a word, in the order asked."""
    return [
        LexiconEntry(
            word=word, lemma=lemma(word), level=level(word), is_name=is_name(word), forms=list(forms(word))
        )
        for word in words
    ]
