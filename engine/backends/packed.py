"""Linear layers packed for the CPU: as fast as torch's own, and a row's result does not depend on its batch.

Torch's own float32 product picks another kernel for small batches, which moves the last bits of a row and,
now and then, a sampled token. oneDNN's packed product gave bitwise equal rows for every batch size measured.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D


class PackedLinear(nn.Module):
    """A linear layer whose weight is kept in oneDNN's own order only."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().float().contiguous())
        self._bias = None if bias is None else bias.detach().float()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, self._packed, self._bias, "none", [], "")
        return out


def packed(layer: nn.Module) -> PackedLinear | None:
    """Return the packed form of a linear layer, None for any other module."""
    if type(layer) is nn.Linear:
        return PackedLinear(layer.weight, layer.bias)
    if type(layer) is Conv1D:
        parameters = dict(layer.named_parameters())
        return PackedLinear(parameters["weight"].t(), parameters["bias"])
    return None


def pack(model: Any) -> int:
    """Replace the linear layers of a float32 CPU model and return how many; 0 where oneDNN can't."""
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not available or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return 0
    count = 0
    with torch.inference_mode():
        for parent in list(model.modules()):
            for name, child in list(parent.named_children()):
                replacement = packed(child)
                if replacement is not None:
                    setattr(parent, name, replacement)
                    count += 1
    return count
