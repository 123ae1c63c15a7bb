"""The storyline of a text: one lemma of each sentence, the word nearest to the sentence in meaning.

Plan-and-Write (arXiv 1811.05701) with KeyBERT in place of RAKE, and within each sentence: over a whole story
KeyBERT may take two words of one sentence and none of another. Lemmas are spaCy's look-up table; names stay
as they are. Knows nothing of sources or files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from engine.lexicon import is_name, level, used_words
from engine.lexicon import lemma as learners_lemma
from training.data.clean import sentences
from training.data.embeddings import Embedder, Vectors

_WORD = re.compile(r"[A-Za-z]+(?:['-][A-Za-z]+)*")
# A capitalised word after a comma or a word, not after the end of a sentence or an opening quote.
_INSIDE = re.compile(r"(?<=[a-z,;] )[A-Z][a-z]+")
# Beside spaCy's stop words: what stands in any story and says nothing of this one.
_SAID_OFTEN = """
said says say asked asks went go goes got came come comes did one two day like thing things let way lot
yes mr mrs
"""
PLAIN = frozenset(_SAID_OFTEN.split())
TOP = 4


@dataclass(frozen=True, slots=True)
class Keyword:
    """A word of the storyline: lemma, form in the text, cosine to the sentence, number of the sentence."""

    word: str
    form: str
    score: float
    sentence: int


@lru_cache(maxsize=1)
def _stop_words() -> frozenset[str]:
    from spacy.lang.en.stop_words import STOP_WORDS

    return frozenset(STOP_WORDS) | PLAIN


@lru_cache(maxsize=1)
def _spacy() -> Any:
    import spacy

    pipeline = spacy.blank("en")
    pipeline.add_pipe("lemmatizer", config={"mode": "lookup"})
    pipeline.initialize()
    return pipeline


@lru_cache(maxsize=100_000)
def lemma(form: str) -> str:
    """Return spaCy's look-up lemma of a lower-case form, or the learners' one where that is an easier word
    (cookie, not cooky). A name, and what the tables would change beyond recognition, stays as it is."""
    if is_name(form):
        return form
    found = min((str(_spacy()(form)[0].lemma_), learners_lemma(form)), key=_difficulty)
    return found if found and not used_words([found], form)[1] else form


def _difficulty(word: str) -> str:
    return level(word) or "unknown"


@lru_cache(maxsize=200_000)
def candidates(sentence: str) -> tuple[str, ...]:
    """Return the distinct words of a sentence that may stand for it: no stop words, names capitalised."""
    stop = _stop_words()
    found: dict[str, None] = {}
    for match in _WORD.finditer(sentence):
        word = match.group().removesuffix("'s").strip("'")
        if len(word) < 3 or word.lower() in stop or "'" in word:
            continue
        inside = (
            match.start() > 0
            and sentence[match.start() - 1] == " "
            and sentence[match.start() - 2] not in '.!?"'
        )
        named = word[0].isupper() and not word.isupper() and (inside or is_name(word))
        found.setdefault(word if named else word.lower())
    return tuple(found)


def _analyse(sentence: str) -> Iterator[str]:
    yield from candidates(sentence)


class Storyliner:
    """Finds storylines. Words are embedded once, when first met or by `learn`."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._vectors: dict[str, Any] = {}

    def learn(self, texts: Iterable[str]) -> None:
        """Embed every candidate word of `texts` at once, so that their order does not matter later."""
        words = {word for text in texts for part in sentences(text) for word in candidates(part)}
        self._add(sorted(words - self._vectors.keys()))

    def _add(self, words: Sequence[str]) -> None:
        self._vectors.update(zip(words, self._embedder.encode(words), strict=True))

    def find(self, texts: Sequence[str]) -> list[list[Keyword]]:
        """Return the storyline of each text, in the order of its sentences.

        A word is taken once a text: a sentence whose word was taken gives its next best, or none.
        """
        split = [sentences(text) for text in texts]
        flat = [part for parts in split for part in parts]
        ranked = iter(self._ranked(flat, self._embedder.encode(flat)))
        return [
            settle(_choose([next(ranked) for _ in parts]), text)
            for text, parts in zip(texts, split, strict=True)
        ]

    def _ranked(self, flat: Sequence[str], vectors: Vectors) -> list[list[tuple[str, float]]]:
        """Return the best candidates of each sentence with their cosines, by KeyBERT."""
        import numpy as np
        from keybert import KeyBERT
        from keybert.backend import BaseEmbedder
        from sklearn.feature_extraction.text import CountVectorizer

        words = sorted({word for sentence in flat for word in candidates(sentence)})
        if not words:
            return [[] for _ in flat]
        self._add([word for word in words if word not in self._vectors])
        found = KeyBERT(model=BaseEmbedder()).extract_keywords(
            list(flat),
            vectorizer=CountVectorizer(analyzer=_analyse),
            top_n=TOP,
            doc_embeddings=vectors,
            word_embeddings=np.stack([self._vectors[word] for word in words]),
        )
        return [found] if len(flat) == 1 else list(found)


def _choose(ranked: Sequence[Sequence[tuple[str, float]]]) -> list[Keyword]:
    taken: dict[str, Keyword] = {}
    for number, words in enumerate(ranked):
        for form, score in words:
            word = form if form[0].isupper() else lemma(form)
            if word not in taken:
                taken[word] = Keyword(word, form, score, number)
                break
    return list(taken.values())


def settle(line: Sequence[Keyword], text: str) -> list[Keyword]:
    """Return a storyline with names that only the whole text shows put right, each word once.

    A word that begins a sentence is a name when it stands capitalised inside another and never in lower case
    (Anna, which no rule holds to be a name for sure).
    """
    inside = {match.group() for match in _INSIDE.finditer(text)}
    small = {match.group() for match in _WORD.finditer(text)}
    settled: dict[str, Keyword] = {}
    for keyword in line:
        name = keyword.word.capitalize()
        word = (
            name
            if name in inside and keyword.word not in small and keyword.form not in small
            else keyword.word
        )
        settled.setdefault(word, replace(keyword, word=word))
    return list(settled.values())
