"""MGIL (Gu et al., ACM MM 2024): stride-2 layers that keep what a strided convolution drops.

The block moves space to channels losslessly (SCT), reads the result once for fine local detail
(FLIE) and once through several receptive fields (CII), and mixes the two by weights computed from
the image (MGAF). The paper leaves open: the number of convolutions in each path (2 and 2 here, as
in its best ablation row), the form of the multi-receptive-field part (depthwise, dilations 1, 2, 3)
and the bottleneck of the mixing weights. Those are our choices.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgepose.models.hrnet import Downsampling
from edgepose.models.layers import conv_bn, initialise_convs
from edgepose.models.simcc import SimCC, simcc

__all__ = ["MGIL", "Scope", "mgil", "mgil_downsampling", "space_to_channels"]

Scope = Literal["main", "all"]


def space_to_channels(x: Tensor) -> Tensor:
    """SCT: the four stride-2 samples of the map as channel groups, losing nothing.

    The groups come in the order of their (row, column) offset: (0,0), (1,0), (0,1), (1,1). Trained
    weights depend on it. It is not the order of ``torch.nn.functional.pixel_unshuffle``.

    Args:
        x: (B, C, H, W), H and W even.

    Returns:
        (B, 4C, H/2, W/2).
    """
    return torch.cat(
        [x[..., 0::2, 0::2], x[..., 1::2, 0::2], x[..., 0::2, 1::2], x[..., 1::2, 1::2]], dim=1
    )


class LIE(nn.Sequential):
    """Local information extraction: ``depth`` times 3x3 convolution, BatchNorm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, depth: int) -> None:
        super().__init__(
            conv_bn(in_channels, out_channels, 3),
            *(conv_bn(out_channels, out_channels, 3) for _ in range(depth - 1)),
        )


class MRIE(nn.Module):
    """Multi-receptive-field extraction: the sum of three dilated depthwise 3x3 convolutions."""

    def __init__(self, channels: int, dilations: tuple[int, ...] = (1, 2, 3)) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=d, dilation=d, groups=channels, bias=False)
            for d in dilations
        )
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        first, *rest = (conv(x) for conv in self.convs)
        return F.relu(self.norm(sum(rest, start=first)))


class MGAF(nn.Module):
    """Adaptive fusion: one weight per image for each path, softmaxed so that they sum to 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(2 * channels // 16, 8)
        self.reduce = nn.Linear(2 * channels, hidden)  # a 1x1 convolution on a 1x1 map
        self.score = nn.Linear(hidden, 2)

    def weights(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """(B, 2): the share of the fine and of the coarse path."""
        means = torch.cat([fine.mean((2, 3)), coarse.mean((2, 3))], dim=1)  # (B, 2C)
        scores: Tensor = self.score(F.relu(self.reduce(means)))
        return scores.softmax(dim=1)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        weights = self.weights(fine, coarse)[..., None, None]  # (B, 2, 1, 1)
        return weights[:, 0:1] * fine + weights[:, 1:2] * coarse


class MGIL(nn.Module):
    """The stride-2 block (B, Cin, H, W) -> (B, Cout, H/2, W/2), H and W even.

    Args:
        in_channels: Cin.
        out_channels: Cout.
        fine_depth: Convolutions in FLIE.
        coarse_depth: Convolutions in CII, after its multi-receptive-field part.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, fine_depth: int = 2, coarse_depth: int = 2
    ) -> None:
        super().__init__()
        samples = 4 * in_channels
        self.flie = LIE(samples, out_channels, fine_depth)
        self.cii = nn.Sequential(MRIE(samples), LIE(samples, out_channels, coarse_depth))
        self.mgaf = MGAF(out_channels)
        initialise_convs(self)

    def forward(self, x: Tensor) -> Tensor:
        """(B, Cin, H, W) to (B, Cout, H/2, W/2)."""
        samples = space_to_channels(x)  # (B, 4 Cin, H/2, W/2)
        fused: Tensor = self.mgaf(self.flie(samples), self.cii(samples))
        return fused


def _mgil_layer(in_channels: int, out_channels: int, *, activate: bool) -> nn.Module:
    """MGIL in a strided convolution's place, activated or not.

    Both paths end in a ReLU and their mixture is never negative, so an activation would change
    nothing.
    """
    del activate
    return MGIL(in_channels, out_channels)


def mgil_downsampling(scope: Scope) -> Downsampling:
    """Which stride-2 layers of HRNet become MGIL.

    ``main``: the stem's and the new branches'. ``all``: those of the fusion chains as well, which
    doubles the parameters.
    """
    if scope == "all":
        return Downsampling(stem=_mgil_layer, transition=_mgil_layer, fusion=_mgil_layer)
    return Downsampling(stem=_mgil_layer, transition=_mgil_layer)


def mgil(
    input_size: tuple[int, int],
    num_keypoints: int,
    *,
    width: int = 32,
    scope: Scope = "main",
    split_ratio: float = 2.0,
) -> SimCC:
    """SimCC on HRNet whose stride-2 layers are MGIL blocks."""
    return simcc(
        input_size,
        num_keypoints,
        width=width,
        downsampling=mgil_downsampling(scope),
        split_ratio=split_ratio,
    )
