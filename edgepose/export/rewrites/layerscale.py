"""LayerScale folded into the linear layer before it: g * (W x + b) = (diag(g) W) x + g * b.

The product is taken in FP64 and rounded once, since a gain may start at 1e-5.
"""

from __future__ import annotations

import torch
from torch import nn

from edgepose.export.rewrites._base import Rewrite
from edgepose.models.encoder import LayerScale, PreNormLayer

__all__ = ["LAYERSCALE"]


def _fold(gain: LayerScale, linear: nn.Linear) -> None:
    factor, dtype = gain.gain.double(), linear.weight.dtype
    linear.weight = nn.Parameter((factor[:, None] * linear.weight.double()).to(dtype))
    if linear.bias is not None:
        linear.bias = nn.Parameter((factor * linear.bias.double()).to(dtype))


@torch.no_grad()
def _apply(root: nn.Module) -> int:
    places = 0
    for module in root.modules():
        if isinstance(module, PreNormLayer):
            for name, linear in (
                ("gain_attention", module.attention.project),
                ("gain_mlp", module.mlp.project),
            ):
                gain = getattr(module, name)
                if isinstance(gain, LayerScale):
                    _fold(gain, linear)
                    module.add_module(name, nn.Identity())
                    places += 1
    return places


LAYERSCALE = Rewrite("layerscale", "gains folded into the linear layers before them", _apply)
