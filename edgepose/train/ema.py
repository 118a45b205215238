"""Exponential moving average of a model's weights and statistics."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

__all__ = ["Ema"]


class Ema:
    """A copy of a model that trails it.

    The decay rises from 0.1 toward its final value as updates come in, so that the random start
    is forgotten early: min(decay, (1 + n) / (10 + n)).

    Args:
        module: The model to follow; its state is the start.
        decay: Final decay per update.

    Attributes:
        module: The averaged model, in evaluation mode.
        updates: Updates so far.
    """

    def __init__(self, module: nn.Module, decay: float, updates: int = 0) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.decay = decay
        self.updates = updates

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move toward the model's present weights and batch statistics."""
        self.updates += 1
        weight = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        averaged: list[Tensor] = []
        present: list[Tensor] = []
        for own, other in zip(
            self.module.state_dict().values(), module.state_dict().values(), strict=True
        ):
            if own.is_floating_point():
                averaged.append(own)
                present.append(other)
            else:
                own.copy_(other)
        torch._foreach_lerp_(averaged, present, weight)
