"""The permitted sources, each with its licence and reader. Knows nothing of mixing or tokenizing.

Left out on purpose: evaluation-only sets (mctest, roc_reference, tinystories/valid_part, fairytaleqa,
movielens plots), share-alike texts (onestop_english, genre_movie_plots) and texts made by Llama models
(snakes, hanna_llm_stories, rows of tinyfabulist), whose licence would oblige the model's name.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.data.clean import passages
from training.data.documents import Document

Reader = Callable[[Path], Iterator[Document]]


@dataclass(frozen=True)
class Source:
    """Where a source stands below the corpus folder, under which licence, and how it is read."""

    name: str
    folder: str
    licence: str
    credit: str
    read: Reader


def _records(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def _own_stories(folder: Path) -> Iterator[Document]:
    for row in _records(folder / "stories.jsonl.gz"):
        yield Document(
            source="wordtale_stories",
            kind="story",
            text=row["text"],
            group=row["id"],
            title=row["title"],
            genre=row["genre"],
            level=row["level_asked"],
            words=row["words"],
        )


def _own_retellings(folder: Path) -> Iterator[Document]:
    originals = {row["id"]: row for row in _records(folder.parent / "wordtale_stories" / "stories.jsonl.gz")}
    for row in _records(folder / "retellings.jsonl.gz"):
        original = originals.get(row["id"])
        if original is None:
            continue
        for kind, level, text, other in (
            ("simpler", row["level"], row["text"], original["text"]),
            ("harder", original["level_asked"], original["text"], row["text"]),
        ):
            yield Document("wordtale_simpler", kind, text, row["id"], level=level, original=other)


def _own_sentences(folder: Path) -> Iterator[Document]:
    for row in _records(folder / "sentences.jsonl.gz"):
        yield Document(
            "wordtale_sentences",
            "sentence",
            row["sentence"],
            row["sentence"],
            level=row["level"] if row["level"] in ("A1", "A2", "B1", "B2") else None,
            words=[row["word"]],
        )


def _own_jokes(folder: Path) -> Iterator[Document]:
    for row in _records(folder / "jokes.jsonl.gz"):
        yield Document("wordtale_jokes", "joke", row["text"], row["text"], words=[row["topic"]])


def _open_jokes(folder: Path) -> Iterator[Document]:
    for row in _records(folder / "jokes.jsonl.gz"):
        if row["source"] == "official_joke_api":
            yield Document("official_joke_api", "joke", row["text"], row["text"])


def _tinystories(folder: Path) -> Iterator[Document]:
    for name in ("train_part", "v2_gpt4_part", "sample_part", "train_part_recased"):
        for row in _records(folder / f"{name}.jsonl.gz"):
            yield Document("tinystories", "story", row["text"], row["text"])


def _fables(folder: Path) -> Iterator[Document]:
    for row in _records(folder / "fables.jsonl.gz"):
        if "llama" not in row["model"].lower() and row["model"] != "unknown":
            yield Document("tinyfabulist", "story", row["text"], row["text"])


def _picture_books(name: str) -> Reader:
    def read(folder: Path) -> Iterator[Document]:
        for row in _records(folder / "stories.jsonl.gz"):
            title = row["title"] if len(row["title"]) < 60 else None
            yield Document(name, "story", row["text"], row["text"], title=title)

    return read


def _aesop(folder: Path) -> Iterator[Document]:
    for row in _records(folder / "fables.jsonl.gz"):
        if row["collection"] == "aesop4children":
            yield Document("aesop_fables", "story", row["text"], row["text"], title=row["title"])


def _tatoeba(folder: Path) -> Iterator[Document]:
    with gzip.open(folder / "sentences.tsv.gz", "rt", encoding="utf-8") as file:
        for line in file:
            text = line.split("\t")[0].strip()
            if 4 <= len(text.split()) <= 20:
                yield Document("tatoeba_english", "sentence", text, text)


def _plots(folder: Path) -> Iterator[Document]:
    for row in _records(folder / "plots.jsonl.gz"):
        yield Document("gpt_novel_plots", "text", row["text"], row["text"])


def _world_stories(folder: Path) -> Iterator[Document]:
    # Two shards of four: each covers all countries, and the stories are much alike.
    for shard in ("stories_0", "stories_1"):
        path = folder / f"{shard}.jsonl.gz"
        for row in _records(path) if path.exists() else ():
            for passage in passages(row["text"]):
                yield Document("gpt_stories_world", "text", passage, row["id"])


def _childrens_books(folder: Path) -> Iterator[Document]:
    for row in _records(folder / "children.jsonl.gz"):
        for passage in passages(row["text"]):
            yield Document("standard_ebooks", "text", passage, f"{row['book']} {row['part']}")


SOURCES: tuple[Source, ...] = (
    Source("wordtale_stories", "wordtale_stories", "CC0-1.0", "Wordtale", _own_stories),
    Source("wordtale_simpler", "wordtale_simpler", "CC0-1.0", "Wordtale", _own_retellings),
    Source("wordtale_sentences", "wordtale_sentences", "CC0-1.0", "Wordtale", _own_sentences),
    Source("wordtale_jokes", "wordtale_jokes", "CC0-1.0", "Wordtale", _own_jokes),
    Source("official_joke_api", "jokes", "MIT", "official_joke_api", _open_jokes),
    Source(
        "tinystories", "tinystories", "CDLA-Sharing-1.0", "Eldan and Li 2023, arXiv:2305.07759", _tinystories
    ),
    Source("tinyfabulist", "tinyfabulist", "MIT", "Copyright (c) 2025 KlusAI Labs", _fables),
    Source(
        "pratham_books",
        "pratham_books",
        "CC BY 4.0",
        "the authors of Pratham Books StoryWeaver",
        _picture_books("pratham_books"),
    ),
    Source(
        "african_storybook",
        "african_storybook",
        "CC BY 4.0",
        "the authors of African Storybook",
        _picture_books("african_storybook"),
    ),
    Source("bookdash", "bookdash", "CC BY 4.0", "the creators of Book Dash", _picture_books("bookdash")),
    Source("aesop_fables", "aesop_fables", "public domain", "The Aesop for Children, 1919", _aesop),
    Source("tatoeba_english", "tatoeba_english", "CC BY 2.0 FR", "tatoeba.org", _tatoeba),
    Source("gpt_novel_plots", "gpt_novel_plots", "MIT", "gpt_novel_plots", _plots),
    Source(
        "gpt_stories_world",
        "gpt_stories_world",
        "MIT",
        "Copyright (c) 2025 Jill Walker Rettberg and Hermann Wigers, doi:10.5281/zenodo.14938999",
        _world_stories,
    ),
    Source(
        "standard_ebooks",
        "standard_ebooks",
        "CC0 / public domain in the USA",
        "Standard Ebooks",
        _childrens_books,
    ),
)
