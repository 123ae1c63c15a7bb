"""Which requests the model tells stories for, so that the scorer can learn: those of written stories.

For each the model tells a story of its own and goes on from the first sentences of the written one.
Knows documents and requests; nothing of models.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence

from engine.schema import MAX_OPENING_CHARS, MAX_TITLE_CHARS, MAX_WORDS, Decoding, Genre, Level, StoryRequest
from training.data.documents import Document
from training.data.labels import length_band
from training.reranker.corruptions import split

# Most stories as learners get them, some bolder: the scorer must know worse drafts as well.
TEMPERATURES = (0.6, 0.6, 0.6, 0.8, 1.0)
SAME_TITLE_SHARE = 0.5
DRAFTS = 2


def by_hash(documents: Sequence[Document]) -> list[Document]:
    """Return the documents in an order that depends on their texts alone, so that any part is a sample."""
    return sorted(documents, key=lambda document: hashlib.sha256(document.text.encode()).digest())


def key_of(document: Document) -> str:
    """Return a short name of a document that tells it from all others."""
    return hashlib.sha256(document.text.encode()).hexdigest()[:12]


def request_of(document: Document, *, title: bool) -> StoryRequest:
    """Return the request that a written story answers; its title is asked for if `title`."""
    return StoryRequest(
        genre=Genre(document.genre) if document.genre else None,
        level=Level(document.level) if document.level else None,
        length=length_band(document.text),
        words=document.words[:MAX_WORDS],
        title=document.title[:MAX_TITLE_CHARS] if title and document.title else None,
    )


def told_again(documents: Sequence[Document]) -> Iterator[tuple[str, StoryRequest]]:
    """Yield a request for each story, of two drafts and now and then a higher temperature."""
    for document in documents:
        key = key_of(document)
        rng = random.Random(f"told {key}")
        request = request_of(document, title=rng.random() < SAME_TITLE_SHARE)
        given = {
            "decoding": Decoding(temperature=rng.choice(TEMPERATURES)),
            "seed": rng.randrange(2**31),
            "n_candidates": DRAFTS,
        }
        yield f"told {key}", request.model_copy(update=given)


def continued(documents: Sequence[Document]) -> Iterator[tuple[str, StoryRequest]]:
    """Yield a request for each story with a quarter to two thirds of it as the opening."""
    for document in documents:
        key = key_of(document)
        rng = random.Random(f"continued {key}")
        parts = split(document.text)
        count = max(1, round(len(parts) * rng.uniform(0.25, 0.67)))
        while count > 1 and len(" ".join(parts[:count])) > MAX_OPENING_CHARS:
            count -= 1
        opening = " ".join(parts[:count])
        if count == len(parts) or len(opening) > MAX_OPENING_CHARS:
            continue
        given = {
            "opening": opening,
            "decoding": Decoding(temperature=rng.choice(TEMPERATURES)),
            "seed": rng.randrange(2**31),
            "n_candidates": 1,
        }
        yield f"continued {key}", request_of(document, title=True).model_copy(update=given)
