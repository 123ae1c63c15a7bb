"""Held-out bits per byte and sample texts. Knows nothing of optimizers or of the engine's decoding."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from engine.prompts.codec import Codec
from engine.prompts.storyteller import EOS, Storyteller
from engine.schema import Genre, Length, Level, StoryRequest
from training.data.documents import Document, read_documents
from training.data.examples import IGNORE, Example, render
from training.data.prepare import document_path
from training.data.stream import by_length, collate

HELD_OUT_SOURCES = ("wordtale_stories", "tinystories", "wordtale_simpler", "wordtale_jokes")
SAMPLE_REQUESTS = (
    StoryRequest(genre=Genre.SCI_FI, words=["Tom", "dinner"], level=Level.A2, length=Length.SHORT),
    StoryRequest(genre=Genre.EVERYDAY, words=["umbrella", "late"], level=Level.A1, length=Length.SHORT),
    StoryRequest(genre=Genre.MYSTERY, words=["key", "garden", "neighbour"], level=Level.B1),
)


def held_out(folder: Path, source: str, limit: int) -> list[Document]:
    """Return the first `limit` held-out documents of a source; none when it was not prepared."""
    path = document_path(folder, source)
    if not path.exists():
        return []
    return [document for document in read_documents(path) if document.held_out][:limit]


@torch.no_grad()
def bits_per_byte(
    model: Any, codec: Codec, documents: Sequence[Document], context: int, *, bf16: bool, device: str = "cpu"
) -> float:
    """Return the mean bits per UTF-8 byte of titles and texts, every known condition given; NaN if empty.

    Comparable between tokenizers; the end token counts, the conditions do not.
    """
    examples: list[Example] = []
    size = 0
    for document in documents:
        example = render(document, codec, random.Random(0), context, train=False)
        examples.append(example)
        size += len(codec.decode(example.ids[example.prompt :]).encode())
    if not size:
        return math.nan
    nats = 0.0
    was_training = model.training
    model.eval()
    for rows in by_length(examples, 8192):
        batch = collate(rows)
        ids, targets = batch.ids.to(device), batch.targets.to(device)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=bf16):
            logits = model(input_ids=ids, use_cache=False).logits
        nats += float(
            functional.cross_entropy(
                logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORE, reduction="sum"
            )
        )
    model.train(was_training)
    return nats / math.log(2) / size


@torch.no_grad()
def samples(model: Any, codec: Codec, *, seed: int, device: str = "cpu") -> list[str]:
    """Return one plain sample (temperature 0.7, top_p 0.95) for each of three fixed requests."""
    family = Storyteller()
    was_training = model.training
    model.eval()
    texts = []
    for number, request in enumerate(SAMPLE_REQUESTS):
        torch.manual_seed(seed + number)
        prompt = family.encode(codec, request)
        ids = model.generate(
            input_ids=torch.tensor([prompt], device=device),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long, device=device),
            do_sample=True,
            temperature=0.7,
            top_p=0.95,
            top_k=0,
            max_new_tokens=min(200, model.config.max_position_embeddings - len(prompt)),
            eos_token_id=codec.control(EOS),
            pad_token_id=0,
        )[0, len(prompt) :].tolist()
        story = family.parse(ids, codec, request)
        texts.append(f"[{', '.join(request.words)}] {story.title}: {story.text}")
    model.train(was_training)
    return texts
