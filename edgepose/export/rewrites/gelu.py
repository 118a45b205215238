"""GELU in the order of operations that runtimes recognise as GELU.

The exporter writes x * (0.5 * (1 + erf(x / sqrt 2))) as five operators; onnxruntime (and others)
fuse ((1 + erf(x / sqrt 2)) * x) * 0.5 into one. Same product, other order: one rounding apart.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from edgepose.export.rewrites._base import Rewrite, replace_modules

__all__ = ["GELU", "FusableGELU"]


class FusableGELU(nn.Module):
    """Exact GELU, written so that it is fused."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same."""
        return (1 + torch.erf(x / math.sqrt(2))) * x * 0.5


def _make(gelu: nn.GELU) -> nn.Module:
    return FusableGELU() if gelu.approximate == "none" else gelu


def _apply(root: nn.Module) -> int:
    return replace_modules(root, nn.GELU, _make)


GELU = Rewrite("gelu", "GELU in the order that runtimes fuse into one operator", _apply)
