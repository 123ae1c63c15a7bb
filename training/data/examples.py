"""From a document to one training example: conditions dropped at random, token ids, loss mask.

The layout is that of `engine.prompts.storyteller`; knows nothing of batches or models.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from engine.lexicon import used_words
from engine.prompts.codec import Codec
from engine.prompts.storyteller import BOS, EOS, STORY, TEXT_KIND, TITLE, Storyteller, normalise, tail
from engine.schema import Genre, Kind, Level
from training.data.clean import sentences
from training.data.documents import Document
from training.data.labels import length_band

IGNORE = -100
KEEP_GENRE, KEEP_LEVEL, KEEP_LENGTH, KEEP_WORDS, KEEP_TITLE = 0.9, 0.9, 0.8, 0.85, 0.9
MOST_WORDS, MOST_STORYLINE = 5, 12
WHOLE_STORYLINE = 0.3
CONTINUE_SHARE = 0.06


@dataclass(frozen=True)
class WordShares:
    """Where the words of a condition come from: parts of what is asked, of any sum above 0.

    `own`: the words that a story was written for; `storyline`: one lemma a sentence; `random`: content words.
    A document that lacks one kind draws from the others.
    """

    own: float = 0.45
    storyline: float = 0.3
    random: float = 0.25

    def __post_init__(self) -> None:
        shares = (self.own, self.storyline, self.random)
        if min(shares) < 0 or sum(shares) <= 0:
            raise ValueError(f"shares must be 0 or more and not all 0, not {shares}")


DEFAULT_SHARES = WordShares()


@dataclass(frozen=True)
class Example:
    """Token ids of one example; the first `prompt` of them are condition and carry no loss."""

    ids: list[int]
    prompt: int


def _standing(words: Sequence[str], document: Document, text: str) -> list[str]:
    """Return the words that stand in `text`, which may be a part of the document's."""
    if text is document.text:
        return list(words)
    return used_words(words, text)[0]


def _words(document: Document, rng: random.Random, text: str, shares: WordShares) -> list[str]:
    """Return words that the text contains, from one of the three kinds; none now and then."""
    if rng.random() >= KEEP_WORDS:
        return []
    kinds = (
        (_standing(document.words, document, text), shares.own),
        (_standing(document.storyline, document, text), shares.storyline),
        (_standing(document.content, document, text), shares.random),
    )
    there = [(number, words, share) for number, (words, share) in enumerate(kinds) if words and share > 0]
    if not there:
        return []
    ((number, words, _),) = rng.choices(there, [share for _, _, share in there])
    if number == 1 and rng.random() < WHOLE_STORYLINE:
        # A plan is told in its order.
        return words[:MOST_STORYLINE]
    if number:
        words = rng.sample(words, min(len(words), rng.randint(1, MOST_WORDS)))
    rng.shuffle(words)
    return words


def _story_conditions(
    document: Document, rng: random.Random, text: str, shares: WordShares, *, train: bool
) -> tuple[Genre | None, Level | None, list[str]]:
    if not train:
        return (
            Genre(document.genre) if document.genre else None,
            Level(document.level) if document.level else None,
            list(document.words) or document.content[:3],
        )
    genre = Genre(document.genre) if document.genre and rng.random() < KEEP_GENRE else None
    level = Level(document.level) if document.level and rng.random() < KEEP_LEVEL else None
    return genre, level, _words(document, rng, text, shares)


def render(
    document: Document,
    codec: Codec,
    rng: random.Random,
    context: int,
    *,
    train: bool = True,
    shares: WordShares = DEFAULT_SHARES,
) -> Example:
    """Return the example of a document, at most `context` ids.

    `shares` say where the words of a condition come from.
    With `train` False every known condition is given, so that held-out figures compare between runs.
    """
    family = Storyteller()
    kind = Kind(document.kind) if document.kind != "text" else Kind.STORY
    text, source = document.text, None
    if document.kind == "text":
        ids = [codec.control(BOS), codec.control(TEXT_KIND), codec.control(STORY)]
        return _finish(ids, text, codec, context)
    if train and kind is Kind.STORY and document.genre and rng.random() < CONTINUE_SHARE:
        parts = sentences(text)
        if len(parts) >= 4:
            cut = rng.randint(2, len(parts) - 1)
            kind, source, text = Kind.CONTINUE, " ".join(parts[:cut]), " ".join(parts[cut:])
    genre, level, words = _story_conditions(document, rng, text, shares, train=train)
    if document.original:
        source, words = document.original, []
    length = length_band(text) if kind is Kind.STORY and (not train or rng.random() < KEEP_LENGTH) else None
    ids = family.condition(
        codec,
        kind=kind,
        genre=genre,
        level=level,
        length=length,
        words=words,
        source=tail(normalise(source)) if source else None,
    )
    if kind is Kind.STORY and document.title and (not train or rng.random() < KEEP_TITLE):
        prompt = len(ids)
        ids += [codec.control(TITLE), *codec.plain(" " + document.title), codec.control(STORY)]
        return _finish(ids, text, codec, context, prompt=prompt + 1)
    ids.append(codec.control(STORY))
    return _finish(ids, text, codec, context)


def _finish(ids: list[int], text: str, codec: Codec, context: int, prompt: int | None = None) -> Example:
    start = len(ids) if prompt is None else prompt
    full = [*ids, *codec.plain(" " + text), codec.control(EOS)]
    return Example(full[:context], min(start, context - 1))
