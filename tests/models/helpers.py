"""Helpers for tests of models: counting without computing, and fresh nets that are not trivial."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def count_params(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def count_macs(module: nn.Module, *shape: int) -> float:
    """Multiply-adds of one forward pass; ``module`` lies on the meta device."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        module.eval()(torch.empty(shape, device="meta"))
    return counter.get_total_flops() / 2


def enliven(module: nn.Module, seed: int = 0) -> nn.Module:
    """Random values wherever a fresh net holds zeros, ones or next to nothing."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if not tensor.is_floating_point():
                continue
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2, generator=generator)
            elif name.endswith(("running_mean", "bias", "gain", "shift")):
                tensor.normal_(0, 0.3, generator=generator)
            elif tensor.std() < 0.05:
                tensor.normal_(1 if tensor.ndim == 1 else 0, 0.1, generator=generator)
    return module


def largest(tensor: Tensor) -> float:
    return float(tensor.abs().max())
