"""Optimizers and learning-rate schedules: Muon for matrices, AdamW for the rest; constant, linear or wsd.

Knows nothing of data. Muon: Jordan et al. 2024 (torch.optim.Muon, rates matched to AdamW's update size,
Liu et al. 2025, arXiv:2502.16982).
"""

from __future__ import annotations

import torch
from torch import nn

from training.recipe import StageRecipe


def build_optimizers(model: nn.Module, stage: StageRecipe) -> list[torch.optim.Optimizer]:
    """Return Muon over the hidden matrices and AdamW over embeddings and norms."""
    matrices: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        hidden = parameter.ndim == 2 and "embed" not in name and "lm_head" not in name
        (matrices if hidden else rest).append(parameter)
    muon = torch.optim.Muon(
        matrices,
        lr=stage.muon_lr,
        weight_decay=stage.weight_decay,
        momentum=0.95,
        nesterov=True,
        adjust_lr_fn="match_rms_adamw",
    )
    adam = torch.optim.AdamW(rest, lr=stage.adam_lr, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    for optimizer in (muon, adam):
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return [muon, adam]


def rate(stage: StageRecipe, step: int, tokens: int) -> float:
    """Return the share of the peak rate at `step` (0-based) after `tokens` tokens of this stage."""
    warm = min(1.0, (step + 1) / stage.warmup_steps) if stage.warmup_steps else 1.0
    if stage.tokens is None or stage.schedule == "constant":
        return warm
    decay = stage.decay_share if stage.schedule == "wsd" else 1.0
    return warm * min(1.0, max(0.0, 1.0 - tokens / stage.tokens) / decay)


def set_rate(optimizers: list[torch.optim.Optimizer], share: float) -> None:
    """Set every group's rate to `share` of its peak."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * share


class Average:
    """Exponential moving average of the weights; early on it follows them faster."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.weights = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average toward the model's weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, parameter in model.named_parameters():
            self.weights[name].lerp_(parameter.detach(), 1 - decay)

    @torch.no_grad()
    def swap(self, model: nn.Module) -> None:
        """Exchange the model's weights with the averaged ones; calling it twice restores both."""
        for name, parameter in model.named_parameters():
            held = parameter.detach().clone()
            parameter.copy_(self.weights[name])
            self.weights[name] = held
