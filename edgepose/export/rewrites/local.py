"""Local's three depthwise kernels and its skip as one 7x7 depthwise convolution.

A k x k kernel padded with zeros to 7 x 7 computes the same, and adding 1 in the middle adds the
input. The Split, the Concat and the sums fall away: more multiply-adds (49 a cell and channel
instead of 27.7 on average), less time.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgepose.export.rewrites._base import Rewrite, replace_modules
from edgepose.models.mitpose import Local

__all__ = ["LOCAL", "MergedLocal"]

KERNEL = 7


class MergedLocal(nn.Module):
    """Local with one depthwise convolution."""

    def __init__(self, local: Local) -> None:
        super().__init__()
        self.expand = local.expand
        self.activation = local.activation
        self.depthwise = _merged(list(local.convs))
        self.grn = local.grn
        self.project = local.project

    def forward(self, x: Tensor) -> Tensor:
        """(B, d, H, W) to the same shape."""
        x = self.activation(self.depthwise(self.activation(self.expand(x))))
        projected: Tensor = self.project(self.grn(x))
        return projected


@torch.no_grad()
def _merged(convs: list[nn.Module]) -> nn.Conv2d:
    kernels, biases = [], []
    for conv in convs:
        if not isinstance(conv, nn.Conv2d) or conv.bias is None:
            raise AssertionError("Local's kernels are convolutions with a bias")
        margin = (KERNEL - conv.kernel_size[0]) // 2
        kernels.append(F.pad(conv.weight, [margin] * 4))
        biases.append(conv.bias)
    weight = torch.cat(kernels)  # (3d, 1, 7, 7)
    weight[:, :, KERNEL // 2, KERNEL // 2] += 1
    channels = len(weight)
    layer = nn.Conv2d(channels, channels, KERNEL, padding=KERNEL // 2, groups=channels)
    layer = layer.to(weight.dtype)
    layer.load_state_dict({"weight": weight, "bias": torch.cat(biases)})
    return layer.eval()


def _apply(root: nn.Module) -> int:
    return replace_modules(root, Local, MergedLocal)


LOCAL = Rewrite("local", "three depthwise kernels and a skip as one 7x7 depthwise kernel", _apply)
