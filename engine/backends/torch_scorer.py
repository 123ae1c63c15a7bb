"""The network of a learned scorer: the first layers of a storyteller, a mean over the text, one logit.

A row's logit does not depend on what shares its batch: rows are computed together only with rows of the same
rounded length. Knows token ids; nothing of requests, files or what a logit is used for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from transformers import LlamaConfig, LlamaModel

LENGTH_STEP = 32
# Of a Llama configuration, what gives a scorer its shape.
SHAPE = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
    "rms_norm_eps",
    "rope_parameters",
)


class Scorer(nn.Module):
    """Gives each row of token ids one logit. With `causal` False every token sees the whole row."""

    def __init__(self, shape: Mapping[str, Any], *, causal: bool) -> None:
        super().__init__()
        self.body = LlamaModel(LlamaConfig(**{name: shape[name] for name in SHAPE if name in shape}))
        width = int(shape["hidden_size"])
        self.head = nn.Linear(2 * width, 1)
        self.causal = causal

    def forward(self, ids: torch.Tensor, starts: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return logits [rows] for ids [rows, longest], padded on the right.

        Row i holds `lengths[i]` ids; the first `starts[i]` of them, the condition, are read but not pooled.
        """
        hidden, pooled = self.read(ids, starts, lengths)
        return self.judge(hidden, pooled, lengths)

    def read(
        self, ids: torch.Tensor, starts: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return hidden states [rows, longest, width] and which of them are pooled [rows, longest] (bool)."""
        place = torch.arange(ids.shape[1], device=ids.device)
        real = place < lengths[:, None]
        hidden: torch.Tensor = self.body(
            input_ids=ids,
            attention_mask=self._mask(real),
            position_ids=place[None].expand(len(ids), -1),
            use_cache=False,
        ).last_hidden_state
        return hidden, real & (place >= starts[:, None])

    def judge(self, hidden: torch.Tensor, pooled: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return logits [rows] from what `read` returned: a weighted sum of the mean and the last state."""
        share = pooled.to(hidden.dtype)
        mean = (hidden * share[..., None]).sum(1) / share.sum(1, keepdim=True)
        last = hidden[torch.arange(len(hidden), device=hidden.device), lengths - 1]
        logits: torch.Tensor = self.head(torch.cat([mean, last], dim=1))[:, 0]
        return logits

    def _mask(self, real: torch.Tensor) -> torch.Tensor:
        rows, width = real.shape
        seen = real[:, None, None, :].expand(rows, 1, width, width)
        if self.causal:
            seen = seen & torch.ones(width, width, dtype=torch.bool, device=real.device).tril()
        dtype = self.body.embed_tokens.weight.dtype
        mask = torch.zeros(seen.shape, dtype=dtype, device=real.device)
        return mask.masked_fill_(~seen, torch.finfo(dtype).min)


def padded(rows: Sequence[Sequence[int]], width: int) -> torch.Tensor:
    """Return ids [rows, width], padded on the right with 0."""
    ids = torch.zeros((len(rows), width), dtype=torch.long)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row, dtype=torch.long)
    return ids


@torch.inference_mode()
def logits_of(scorer: Scorer, rows: Sequence[Sequence[int]], starts: Sequence[int]) -> list[float]:
    """Return the logit of each row of ids; `starts` says how many of a row's ids are condition."""
    found = [0.0] * len(rows)
    groups: dict[int, list[int]] = {}
    for number, row in enumerate(rows):
        groups.setdefault(-(-len(row) // LENGTH_STEP) * LENGTH_STEP, []).append(number)
    device = scorer.body.embed_tokens.weight.device
    for width, numbers in sorted(groups.items()):
        ids = padded([rows[number] for number in numbers], width)
        where = torch.tensor([starts[number] for number in numbers])
        lengths = torch.tensor([len(rows[number]) for number in numbers])
        logits = scorer(ids.to(device), where.to(device), lengths.to(device)).float().cpu()
        for number, logit in zip(numbers, logits.tolist(), strict=True):
            found[number] = logit
    return found
