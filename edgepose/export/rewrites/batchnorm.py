"""BatchNorm that no convolution precedes: folded into the one that follows, or before a sum.

One right behind a convolution is folded into that (see ``conv_norm.py``). Left over are the ones
behind a sum. In evaluation mode BatchNorm is s * x + t per channel, so that

* in front of a 1x1 convolution, W (s * x + t) + b = (W s) x + (b + W t). A wider kernel would not
  do: its zero padding comes after the norm;
* behind a sum of depthwise convolutions without bias, s * sum(k_i * x) + t = sum((s k_i) * x) + t,
  with t as the first one's bias.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from edgepose.export.rewrites._base import Rewrite, norm_affine
from edgepose.models.mgil import MRIE
from edgepose.models.mitpose import DecoderStep, MapBlock, MitPose, SCBlock

__all__ = ["BATCHNORM"]


def _into_next(norm: nn.BatchNorm2d, conv: nn.Conv2d) -> None:
    """Fold ``norm`` into the 1x1 convolution that alone reads it."""
    if conv.kernel_size != (1, 1) or conv.groups != 1:
        raise AssertionError("only a dense 1x1 convolution can take the norm before it")
    scale, shift = norm_affine(norm)
    weight = conv.weight.double()
    bias = 0 if conv.bias is None else conv.bias.double()
    folded = bias + weight[:, :, 0, 0] @ shift  # (Cout,)
    conv.bias = nn.Parameter(folded.to(conv.weight.dtype))
    conv.weight = nn.Parameter((weight * scale[:, None, None]).to(conv.weight.dtype))


def _into_summands(block: MRIE) -> None:
    scale, shift = norm_affine(block.norm)
    for index, conv in enumerate(block.convs):
        if not isinstance(conv, nn.Conv2d) or conv.bias is not None:
            raise AssertionError("the summands are convolutions without bias")
        dtype = conv.weight.dtype
        conv.weight = nn.Parameter((conv.weight.double() * scale[:, None, None, None]).to(dtype))
        if index == 0:
            conv.bias = nn.Parameter(shift.to(dtype))


def _followers(module: nn.Module) -> list[tuple[str, nn.Conv2d]]:
    """Names of the norms that a module holds, each with the only layer that reads it."""
    if isinstance(module, SCBlock):
        return [("norm", module.expand)]
    if isinstance(module, MapBlock):
        return [("norm_global", module.attention.qkv), ("norm_local", module.local.expand)]
    if isinstance(module, MitPose):
        first = cast(DecoderStep, module.decoder[0])
        return [("norm", cast(nn.Conv2d, first.reduce[0]))]
    return []


@torch.no_grad()
def _apply(root: nn.Module) -> int:
    places = 0
    for module in root.modules():
        for name, conv in _followers(module):
            norm = getattr(module, name)
            if isinstance(norm, nn.BatchNorm2d):  # the reference form has a LayerNorm there
                _into_next(norm, conv)
                module.add_module(name, nn.Identity())
                places += 1
        if isinstance(module, MRIE):
            _into_summands(module)
            module.add_module("norm", nn.Identity())
            places += 1
    return places


BATCHNORM = Rewrite(
    "batchnorm", "norms without a convolution before them folded into their neighbours", _apply
)
