"""Does stepping a model, row by row, give what one plain pass over the text gives?

Models with unusual caches or positions (ALiBi, sliding windows, recurrent state) are found out here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from engine.backends.torch_causal import TorchBackend

PROMPTS = (3, 9)
STEPS = 3


def deviation(model: Any, backend: TorchBackend) -> float:
    """Return the largest difference of logits over a few steps of two rows, as a share of their spread."""
    numbers = np.random.default_rng(0)
    texts = [list(numbers.integers(0, backend.vocab_size, length + STEPS)) for length in PROMPTS]
    tokens = np.concatenate([text[:length] for text, length in zip(texts, PROMPTS, strict=True)])
    slots = np.repeat(np.arange(len(PROMPTS)), PROMPTS)
    positions = np.concatenate([np.arange(length) for length in PROMPTS])
    found = [backend.step(tokens, slots, positions, np.cumsum(PROMPTS) - 1)]
    rows = np.arange(len(PROMPTS))
    for step in range(STEPS):
        at = np.array(PROMPTS) + step
        tokens = np.array([text[place] for text, place in zip(texts, at, strict=True)])
        found.append(backend.step(tokens, rows, at, rows))
    return max(_difference(model, text, [each[row] for each in found]) for row, text in enumerate(texts))


def _difference(model: Any, text: list[int], found: list[np.ndarray[Any, Any]]) -> float:
    with torch.inference_mode():
        logits = model(torch.tensor([text], device=model.device)).logits[0].float().cpu().numpy()
    wanted = logits[len(text) - STEPS - 1 :]
    spread = float(wanted.std()) or 1.0
    return float(np.abs(np.stack(found) - wanted).max()) / spread
