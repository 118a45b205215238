"""AdamW, decaying only what should decay."""

from __future__ import annotations

import torch
from torch import nn

from edgepose.train.recipe import Recipe

__all__ = ["make_optimiser", "transfer_state"]


def make_optimiser(module: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW over two groups: matrices and kernels decay; biases, norms, position tables do not.

    Position tables are the module's ``position_tables``; like biases they are offsets, and decay
    would pull them toward "everywhere is the same place".
    """
    tables = set(getattr(module, "position_tables", ()))
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        plain = name in tables or _is_vector(parameter)
        (kept if plain else decayed).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": recipe.weight_decay},
            {"params": kept, "weight_decay": 0.0},
        ],
        lr=recipe.learning_rate,
        betas=recipe.betas,
        fused=True,
    )


def transfer_state(
    source: torch.optim.AdamW, old: nn.Module, target: torch.optim.AdamW, new: nn.Module
) -> None:
    """Carry the moments of equally named, equally shaped parameters over to another optimiser.

    What has no counterpart (a position table or a SimCC layer of another size) starts afresh.
    """
    before = dict(old.named_parameters())
    for name, parameter in new.named_parameters():
        state = source.state.get(before[name]) if name in before else None
        if state and state["exp_avg"].shape == parameter.shape:
            target.state[parameter] = {key: value.clone() for key, value in state.items()}


def _is_vector(parameter: nn.Parameter) -> bool:
    """Biases, norm gains and per-channel factors, however many axes of length 1 they have."""
    return sum(extent > 1 for extent in parameter.shape) <= 1
