"""How each source is read: from its file to documents. Knows nothing of cleaning, licences or mixing.

A reader gets `Folders`, which says where a corpus folder stands, since some sources need two.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from training.data.clean import passages
from training.data.documents import Document

Folders = Callable[[str], Path]
Reader = Callable[[Folders], Iterator[Document]]
LEVELS = ("A1", "A2", "B1", "B2")


class CorpusError(ValueError):
    """A file of the corpus cannot be read; says which, where and why."""


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            yield from enumerate(file, 1)
    except FileNotFoundError:
        raise CorpusError(f"{path} is missing") from None
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path} is not UTF-8 text: {error.reason}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise CorpusError(f"{path} is damaged or no gzip file: {error}") from error


def records(path: Path, *fields: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a .jsonl.gz file. Raises CorpusError; `fields` must be there."""
    for number, line in _lines(path):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise CorpusError(f"{path} line {number} is not JSON: {error.msg}") from error
        missing = [field for field in fields if not isinstance(row, dict) or field not in row]
        if missing:
            raise CorpusError(f"{path} line {number} has no field {', '.join(missing)}")
        yield row


def own_stories(folders: Folders) -> Iterator[Document]:
    """Our graded stories."""
    path = folders("wordtale_stories") / "stories.jsonl.gz"
    for row in records(path, "id", "genre", "level_asked", "words", "title", "text"):
        yield Document(
            source="wordtale_stories",
            kind="story",
            text=row["text"],
            group=row["id"],
            title=row["title"],
            genre=row["genre"],
            level=row["level_asked"],
            words=row["words"],
            level_asked=row["level_asked"],
        )


def own_retellings(folders: Folders) -> Iterator[Document]:
    """Our retellings, in both directions: from the harder text to the simpler one and back."""
    stories = records(folders("wordtale_stories") / "stories.jsonl.gz", "id", "text", "level_asked")
    originals = {row["id"]: row for row in stories}
    for row in records(folders("wordtale_simpler") / "retellings.jsonl.gz", "id", "level", "text"):
        original = originals.get(row["id"])
        if original is None:
            continue
        for kind, level, text, other in (
            ("simpler", row["level"], row["text"], original["text"]),
            ("harder", original["level_asked"], original["text"], row["text"]),
        ):
            yield Document(
                "wordtale_simpler", kind, text, row["id"], level=level, original=other, level_asked=level
            )


def own_sentences(folders: Folders) -> Iterator[Document]:
    """Our example sentences, each for one word."""
    for row in records(folders("wordtale_sentences") / "sentences.jsonl.gz", "sentence", "level", "word"):
        level = row["level"] if row["level"] in LEVELS else None
        text = row["sentence"]
        yield Document("wordtale_sentences", "sentence", text, text, level=level, words=[row["word"]])


def own_jokes(folders: Folders) -> Iterator[Document]:
    """Our jokes, each on a topic."""
    for row in records(folders("wordtale_jokes") / "jokes.jsonl.gz", "text", "topic"):
        yield Document("wordtale_jokes", "joke", row["text"], row["text"], words=[row["topic"]])


def open_jokes(folders: Folders) -> Iterator[Document]:
    """The openly licensed jokes of the joke folder."""
    for row in records(folders("jokes") / "jokes.jsonl.gz", "text", "source"):
        if row["source"] == "official_joke_api":
            yield Document("official_joke_api", "joke", row["text"], row["text"])


def tinystories(folders: Folders) -> Iterator[Document]:
    """TinyStories without its validation part."""
    for name in ("train_part", "v2_gpt4_part", "sample_part", "train_part_recased"):
        for row in records(folders("tinystories") / f"{name}.jsonl.gz", "text"):
            yield Document("tinystories", "story", row["text"], row["text"])


def fables(folders: Folders) -> Iterator[Document]:
    """Fables, without those that Llama or unknown models wrote."""
    for row in records(folders("tinyfabulist") / "fables.jsonl.gz", "text", "model"):
        if "llama" not in row["model"].lower() and row["model"] != "unknown":
            yield Document("tinyfabulist", "story", row["text"], row["text"])


def picture_books(name: str) -> Reader:
    """Whole picture books, as stories; those too long for one are refused later."""

    def read(folders: Folders) -> Iterator[Document]:
        for row in records(folders(name) / "stories.jsonl.gz", "text", "title"):
            title = row["title"] if len(row["title"]) < 60 else None
            yield Document(name, "story", row["text"], row["text"], title=title)

    return read


def aesop(folders: Folders) -> Iterator[Document]:
    """The collection that is surely in the public domain."""
    for row in records(folders("aesop_fables") / "fables.jsonl.gz", "collection", "text", "title"):
        if row["collection"] == "aesop4children":
            yield Document("aesop_fables", "story", row["text"], row["text"], title=row["title"])


def tatoeba(folders: Folders) -> Iterator[Document]:
    """Plain sentences of 4 to 20 words."""
    for _, line in _lines(folders("tatoeba_english") / "sentences.tsv.gz"):
        text = line.split("\t")[0].strip()
        if 4 <= len(text.split()) <= 20:
            yield Document("tatoeba_english", "sentence", text, text)


def plots(folders: Folders) -> Iterator[Document]:
    """Plots of children's novels, 50 words each."""
    for row in records(folders("gpt_novel_plots") / "plots.jsonl.gz", "text"):
        yield Document("gpt_novel_plots", "text", row["text"], row["text"])


def world_stories(folders: Folders) -> Iterator[Document]:
    """Passages of two shards of four: each covers all countries, and the stories are much alike."""
    for shard in ("stories_0", "stories_1"):
        path = folders("gpt_stories_world") / f"{shard}.jsonl.gz"
        for row in records(path, "text", "id") if path.exists() else ():
            for passage in passages(row["text"]):
                yield Document("gpt_stories_world", "text", passage, row["id"])


def long_texts(name: str, folder: str, file: str, *group: str, every: int = 1) -> Reader:
    """One of `every` passages of long texts; the fields `group` name the work that a passage is of."""

    def read(folders: Folders) -> Iterator[Document]:
        for row in records(folders(folder) / f"{file}.jsonl.gz", "text", *group):
            work = " ".join(str(row[part]) for part in group)
            for passage in islice(passages(row["text"]), 0, None, every):
                yield Document(name, "text", passage, work)

    return read
