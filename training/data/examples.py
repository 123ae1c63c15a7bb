"""From a document to one training example: conditions dropped at random, token ids, loss mask.

The layout is that of `engine.prompts.storyteller`; knows nothing of batches or models.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from engine.prompts.codec import Codec
from engine.prompts.storyteller import BOS, EOS, STORY, TEXT_KIND, TITLE, Storyteller, normalise, tail
from engine.schema import Genre, Kind, Level
from training.data.clean import sentences
from training.data.documents import Document
from training.data.labels import length_band

IGNORE = -100
KEEP_GENRE, KEEP_LEVEL, KEEP_LENGTH, KEEP_WORDS, KEEP_TITLE = 0.9, 0.9, 0.8, 0.85, 0.9
OWN_WORDS = 0.6
CONTINUE_SHARE = 0.06


@dataclass(frozen=True)
class Example:
    """Token ids of one example; the first `prompt` of them are condition and carry no loss."""

    ids: list[int]
    prompt: int


def _words(document: Document, rng: random.Random, text: str) -> list[str]:
    """Return 1-5 words that the text contains, those that it was written for more often than others."""
    if rng.random() >= KEEP_WORDS:
        return []
    if document.words and rng.random() < OWN_WORDS:
        words = list(document.words)
    else:
        # Content words are in text order; what stands in the text is checked again for parts of a story.
        stems = [w for w in document.content if w.lower()[:4] in text.lower()]
        words = rng.sample(stems, min(len(stems), rng.randint(1, 5)))
    rng.shuffle(words)
    return words


def _story_conditions(
    document: Document, rng: random.Random, text: str, *, train: bool
) -> tuple[Genre | None, Level | None, list[str]]:
    if not train:
        return (
            Genre(document.genre) if document.genre else None,
            Level(document.level) if document.level else None,
            list(document.words) or document.content[:3],
        )
    genre = Genre(document.genre) if document.genre and rng.random() < KEEP_GENRE else None
    level = Level(document.level) if document.level and rng.random() < KEEP_LEVEL else None
    return genre, level, _words(document, rng, text)


def render(
    document: Document, codec: Codec, rng: random.Random, context: int, *, train: bool = True
) -> Example:
    """Return the example of a document, at most `context` ids.

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
    genre, level, words = _story_conditions(document, rng, text, train=train)
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
