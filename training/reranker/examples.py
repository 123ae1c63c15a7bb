"""What the scorer learns from: versions of one story, the written one and worse ones, under one request.

Worse are the written story spoilt (see `corruptions`), stories that the model told for the same request, and
the written story's beginning that the model went on from. Knows documents; nothing of tokens or networks.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.schema import StoryRequest
from training.data.documents import Document
from training.reranker.corruptions import KINDS, content_vocabulary, corrupt
from training.reranker.requests import key_of, request_of
from training.reranker.writing import read_told

WRITTEN, TOLD, CONTINUED = "written", "told", "continued"
KEEP_CONDITION = 0.85
SPOILT = 2


@dataclass(frozen=True)
class Version:
    """One version of a story; `kind` is WRITTEN, TOLD, CONTINUED or one of the corruptions' KINDS."""

    kind: str
    title: str
    text: str


@dataclass(frozen=True)
class Group:
    """Versions of one story under one request; the first is the written one."""

    request: StoryRequest
    versions: list[Version]


@dataclass
class Material:
    """Stories to make groups of, with what the model told for them, by document key."""

    documents: list[Document]
    told: dict[str, list[Version]] = field(default_factory=dict)
    vocabulary: list[str] = field(default_factory=list)
    by_genre: dict[str | None, list[Document]] = field(default_factory=dict)

    def group(self, document: Document, rng: random.Random) -> Group | None:
        """Return a training group: two spoilt versions and, of what the model told, one of each kind."""
        request = _with_fewer_conditions(request_of(document, title=False), rng)
        told = self.told.get(key_of(document), [])
        worse = self._spoilt(document, rng, SPOILT)
        for kind in (TOLD, CONTINUED):
            choices = [version for version in told if version.kind == kind]
            worse += [rng.choice(choices)] if choices else []
        title = document.title or _first_words(document.text)
        return Group(request, [Version(WRITTEN, title, document.text), *worse]) if worse else None

    def spoilt(self, document: Document, kind: str, rng: random.Random) -> Version | None:
        """Return the story spoilt in one way, None when it can't be."""
        others = self.by_genre.get(document.genre) or self.documents
        other = rng.choice(others)
        text = (
            corrupt(kind, document.text, other.text, rng, self.vocabulary) if other is not document else None
        )
        return Version(kind, document.title or _first_words(document.text), text) if text else None

    def _spoilt(self, document: Document, rng: random.Random, count: int) -> list[Version]:
        found = (self.spoilt(document, kind, rng) for kind in rng.sample(KINDS, count + 1))
        return [version for version in found if version is not None][:count]


def gather(documents: Sequence[Document], told_file: Path) -> Material:
    """Return the material of some documents; what the model told for others is left out."""
    material = Material(list(documents))
    keys = {key_of(document) for document in documents}
    for row in read_told(told_file):
        kind, key = row["id"].split(" ")
        if key in keys:
            material.told.setdefault(key, []).extend(_versions(kind, row))
    material.vocabulary = content_vocabulary([document.text for document in documents[:3000]])
    for document in documents:
        material.by_genre.setdefault(document.genre, []).append(document)
    return material


def _versions(kind: str, row: dict[str, Any]) -> list[Version]:
    """Return what was told, but for drafts that anybody would see to be broken off."""
    whole = [draft for draft in row["drafts"] if draft["text"] and not draft["cut"]]
    return [Version(kind, draft["title"], draft["text"]) for draft in whole]


def _with_fewer_conditions(request: StoryRequest, rng: random.Random) -> StoryRequest:
    """Leave each condition out now and then, as learners do."""
    given: dict[str, Any] = {
        name: None for name in ("genre", "level", "length") if rng.random() > KEEP_CONDITION
    }
    if rng.random() > KEEP_CONDITION:
        given["words"] = []
    return request.model_copy(update=given)


def _first_words(text: str) -> str:
    return " ".join(text.split()[:5]).strip(" .,;:!?\"'-")
