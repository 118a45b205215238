"""GRN in two passes over the map: g * x * N + b + x = x * (1 + g N) + b, and b moves on.

The shift b goes into the 1x1 convolution that follows: W (y + b) + c = W y + (c + W b). The norm is
taken as the square root of the mean of x * x: Pow and ReduceL2 are slow in onnxruntime. (The
module scales x first, so that FP16 sums cannot overflow; artefacts keep these reductions in FP32.)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgepose.export.rewrites._base import Rewrite
from edgepose.models.mitpose import GRN, SMALLEST_ENERGY, Local, SCBlock

__all__ = ["GRN_SCALE", "ScaleGRN"]


class ScaleGRN(nn.Module):
    """x * (1 + g N), the part of GRN that no neighbour can take over."""

    def __init__(self, gain: nn.Parameter) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        norm = (x * x).mean((2, 3), keepdim=True).clamp_min(SMALLEST_ENERGY).sqrt()  # (B, C, 1, 1)
        epsilon = 1e-6 * (x.shape[2] * x.shape[3]) ** -0.5
        factor: Tensor = 1 + self.gain * (norm / (norm.mean(1, keepdim=True) + epsilon))
        return x * factor


@torch.no_grad()
def _apply(root: nn.Module) -> int:
    places = 0
    for module in root.modules():
        if isinstance(module, (SCBlock, Local)) and isinstance(module.grn, GRN):
            grn, conv = module.grn, module.project
            if conv.bias is None:
                raise AssertionError("the convolution behind GRN has a bias")
            moved = conv.weight.double()[:, :, 0, 0] @ grn.shift.double().flatten()  # (Cout,)
            conv.bias = nn.Parameter((conv.bias.double() + moved).to(conv.bias.dtype))
            module.grn = ScaleGRN(grn.gain)
            places += 1
    return places


GRN_SCALE = Rewrite("grn", "GRN as one product, its shift folded into the next convolution", _apply)
