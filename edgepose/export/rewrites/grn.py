"""GRN in two passes over the map: g * x * N + b + x = x * (1 + g N) + b, and b moves on.

The shift b goes into the 1x1 convolution that follows: W (y + b) + c = W y + (c + W b). The norm is
written as the square root of a sum of products: Pow and ReduceL2 are slow in onnxruntime.

As in the module, x is scaled by 1/sqrt(H*W) before it is squared, and the denominator's 1e-6 with
it: N is a ratio, so nothing changes, but a sum of H*W squares stays as small as their mean and FP16
does not overflow (without the scale it does on a 64x48 map from a standard deviation of 4.6 on). It
costs half a percent of mitpose-lite's time. The smallest energy, which keeps gradients finite, has
no part in a graph without gradients.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgepose.export.rewrites._base import Rewrite
from edgepose.models.mitpose import GRN, Local, SCBlock

__all__ = ["GRN_SCALE", "ScaleGRN"]


class ScaleGRN(nn.Module):
    """x * (1 + g N), the part of GRN that no neighbour can take over."""

    def __init__(self, gain: nn.Parameter) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        scale = (x.shape[2] * x.shape[3]) ** -0.5
        scaled = x * scale
        norm = (scaled * scaled).sum((2, 3), keepdim=True).sqrt()  # (B, C, 1, 1)
        factor: Tensor = 1 + self.gain * (norm / (norm.mean(1, keepdim=True) + 1e-6 * scale))
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
