"""Byte-level BPE tokenizer of the storyteller, trained on prepared documents. Knows nothing of models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from engine.prompts.storyteller import CONTROL_TOKENS
from training.data.documents import read_documents
from training.data.prepare import document_path

CHARACTERS = 24_000_000


def train_tokenizer(folder: Path, weights: Mapping[str, float], vocabulary: int) -> Tokenizer:
    """Train a tokenizer of `vocabulary` ids on a sample of the mix; control tokens take the first ids.

    Each source gives its share of about 24 million characters, repeated at most four times.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(CONTROL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(folder, weights), trainer)
    return tokenizer


def _texts(folder: Path, weights: Mapping[str, float]) -> Iterator[str]:
    total = sum(weights.values())
    for name, weight in weights.items():
        path = document_path(folder, name)
        if not path.exists():
            continue
        texts = [d.text for d in read_documents(path) if not d.held_out]
        left = int(CHARACTERS * weight / total)
        for _ in range(4):
            for text in texts:
                if left <= 0:
                    break
                left -= len(text)
                yield " " + text
