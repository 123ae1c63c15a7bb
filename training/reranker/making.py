"""From a model and prepared documents to its scorer: told stories, training, figures, files.

Resumable: stories told before are kept in FOLDER/told.jsonl. Knows the order of the steps, not their inside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from engine.prompts import Codec
from engine.registry import read_card
from engine.schema import StoryRequest
from training.data.documents import Document, read_documents
from training.data.prepare import document_path
from training.reranker.examples import gather
from training.reranker.requests import by_hash, continued, told_again
from training.reranker.train import accuracies, save, start_scorer, train
from training.reranker.writing import Writer, write_told

SOURCE = "wordtale_stories"
HELD_OUT_STORIES = 100
BLOCK = 250


def written_stories(data: Path) -> tuple[list[Document], list[Document]]:
    """Return our own stories, (training, held-out), each in an order that depends on the texts alone.

    Raises FileNotFoundError when they were not prepared.
    """
    path = document_path(data, SOURCE)
    if not path.exists():
        raise FileNotFoundError(f"no prepared {SOURCE} in {data}")
    documents = by_hash([document for document in read_documents(path) if document.kind == "story"])
    held = [document for document in documents if document.held_out]
    return [document for document in documents if not document.held_out], held


def make_reranker(
    model: Path,
    folder: Path,
    data: Path,
    *,
    tokens: int,
    stories: int,
    layers: int,
    causal: bool,
    report: Callable[[str], None],
) -> dict[str, Any]:
    """Train a model's scorer into `folder`/reranker and return its figures.

    Raises FileNotFoundError without data and ModelRefused for what is no model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    threads = torch.get_num_threads()
    card = read_card(model)
    written, held = written_stories(data)
    held = held[:HELD_OUT_STORIES]
    told = folder / "told.jsonl"
    writer = Writer(model, threads=threads)
    try:
        count = write_told(told, writer, _asked(held, written[:stories]), report)
    finally:
        writer.close()
    report(f"{told}: {count:,} requests told now")
    codec = Codec.from_directory(model)
    scorer = start_scorer(model, layers, causal=causal).to("cuda" if torch.cuda.is_available() else "cpu")
    seconds = train(scorer, gather(written, told), codec, tokens=tokens, seed=1, report=report)
    figures = accuracies(scorer, gather(held, told), codec)
    figures |= {
        "model": f"{card.name} {card.version}",
        "parameters": sum(parameter.numel() for parameter in scorer.parameters()),
        "stories": min(stories, len(written)),
        "tokens": tokens,
        "seconds": round(seconds, 1),
    }
    save(scorer, folder / "reranker", model, figures)
    return figures


def _asked(held: Sequence[Document], written: Sequence[Document]) -> Iterator[tuple[str, StoryRequest]]:
    blocks = [held, *(written[at : at + BLOCK] for at in range(0, len(written), BLOCK))]
    for block in blocks:
        yield from continued(block)
        yield from told_again(block)
