"""Curves and samples of a run: TensorBoard events, and samples.md to read.

Knows nothing of what they measure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

SAMPLES = "samples.md"


class Curves:
    """Writes into `folder`/tensorboard and appends to `folder`/samples.md, by tokens seen."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer = SummaryWriter(str(folder / "tensorboard"))

    def figures(self, figures: Mapping[str, float], tokens: int) -> None:
        """Add one point to each curve."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, tokens)
        self._writer.flush()

    def samples(self, texts: Sequence[str], tokens: int, held_out: Mapping[str, float]) -> None:
        """Add sample texts, with the held-out figures of the weights that wrote them."""
        for number, text in enumerate(texts):
            self._writer.add_text(f"sample/{number}", text, tokens)
        self._writer.flush()
        figures = ", ".join(f"{name} {value:.4f}" for name, value in held_out.items())
        with (self._folder / SAMPLES).open("a", encoding="utf-8") as file:
            file.write(f"## {tokens:,} tokens\n\nBits per byte: {figures}\n\n")
            file.writelines(f"- {text}\n" for text in texts)
            file.write("\n")

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
