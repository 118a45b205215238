"""BatchNorm right behind a convolution, folded into it before the trace.

In evaluation mode BatchNorm is s * x + t per channel, so behind a convolution s * (W x + b) + t is
(s W) x + (s b + t). The exporter would fold most of these pairs too, in FP32 and node by node; here
the products are taken in FP64, and the graph to trace has a third fewer nodes.
"""

from __future__ import annotations

import torch
from torch import nn

from edgepose.export.rewrites._base import Rewrite, norm_affine

__all__ = ["CONV_NORM"]


def _fold(conv: nn.Conv2d | nn.ConvTranspose2d, norm: nn.BatchNorm2d) -> None:
    scale, shift = norm_affine(norm)
    weight = conv.weight.double()
    # A transposed convolution's weight is (Cin, Cout, kh, kw), the other's (Cout, Cin, kh, kw).
    along = (1, -1, 1, 1) if isinstance(conv, nn.ConvTranspose2d) else (-1, 1, 1, 1)
    bias = shift if conv.bias is None else scale * conv.bias.double() + shift
    conv.bias = nn.Parameter(bias.to(conv.weight.dtype))
    conv.weight = nn.Parameter((weight * scale.view(along)).to(conv.weight.dtype))


@torch.no_grad()
def _apply(root: nn.Module) -> int:
    places = 0
    for module in root.modules():
        if not isinstance(module, nn.Sequential):
            continue
        for index in range(len(module) - 1):
            conv, norm = module[index], module[index + 1]
            grouped = isinstance(conv, nn.ConvTranspose2d) and conv.groups != 1
            if (
                isinstance(conv, (nn.Conv2d, nn.ConvTranspose2d))
                and isinstance(norm, nn.BatchNorm2d)
                and not grouped
            ):
                _fold(conv, norm)
                module[index + 1] = nn.Identity()
                places += 1
    return places


CONV_NORM = Rewrite("conv-norm", "norms behind a convolution folded into it, in FP64", _apply)
