"""Is a graph fit to tell stories: numbers that are numbers, and how much 8-bit weights cost.

The measure is bits per byte on ten short stories that no model of ours was trained on: the first of each
genre in the held-out part of our own CC0 stories (`training/corpus/wordtale_stories`). Knows nothing of
sessions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from engine.backends.base import StepBackend
from engine.prompts import Codec, PromptFamily

STORIES = Path(__file__).parents[1] / "data" / "held_out_stories.txt"
# 8-bit weights may cost so much of the fit to held-out text.
MAX_WORSENING = 0.01
# Rows that share a step and tokens before it, when rows are tried for touching each other.
CROWDS = (1, 2, 5)
PROMPT = 4


class Text:
    """A held-out story as ids; the first `start` of them are what its prompt begins with."""

    def __init__(self, codec: Codec, family: PromptFamily, text: str, context: int) -> None:
        self.start = max(1, len(family.encode_plain(codec, "")))
        self.ids = np.array(family.encode_plain(codec, text)[:context], dtype=np.int64)
        self.bytes = len(codec.decode(self.ids.tolist()).encode())


def held_out(codec: Codec, family: PromptFamily, context: int) -> list[Text]:
    """Return the held-out stories in a model's tokens, cut to its context."""
    stories = STORIES.read_text(encoding="utf-8").splitlines()
    texts = [Text(codec, family, story, context) for story in stories]
    return [text for text in texts if len(text.ids) > text.start]


def bits_per_byte(
    backend: StepBackend, texts: Sequence[Text], after: Callable[[], None] = lambda: None
) -> float:
    """Return how many bits a backend needs for a byte of the texts; not finite where its logits are not.

    Each text passes through slot 0; `after` is called when it has.
    """
    nats, size = 0.0, 0
    for text in texts:
        count = len(text.ids)
        rows = np.arange(text.start - 1, count - 1)
        places = np.arange(count)
        logits = backend.step(text.ids, np.zeros_like(places), places, rows).astype(np.float64)
        best = logits.max(axis=1)
        total = np.log(np.exp(logits - best[:, None]).sum(axis=1)) + best
        nats += float((total - logits[np.arange(len(rows)), text.ids[text.start :]]).sum())
        size += text.bytes
        after()
    return nats / math.log(2) / max(1, size)


def apart(backend: StepBackend) -> bool:
    """Whether a row's logits are bitwise the same alone and among others.

    That hangs on the kernels that ONNX Runtime has for this processor. Uses slots 0 to 4.
    """
    seen = []
    for crowd in CROWDS:
        slots = np.arange(crowd)
        for slot in slots:
            prompt = np.arange(PROMPT + slot) % backend.vocab_size
            places = np.arange(len(prompt))
            backend.step(prompt, np.full_like(places, slot), places, places[-1:])
        seen.append(backend.step(slots % backend.vocab_size, slots, PROMPT + slots, slots)[0])
    return all(np.array_equal(seen[0], logits) for logits in seen[1:])
