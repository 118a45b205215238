"""MfvPose: TokenPose fed by cascaded atrous convolutions, with learned gains in its layers.

Only the paper's text was at hand, without its tables and without the equation of its module for a
high-resolution field of view; what it leaves open is said where it is decided.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgepose.models.hrnet import LAYER1_CHANNELS, THREE_STAGES, HRNet
from edgepose.models.layers import conv_bn, initialise_convs
from edgepose.models.tokenpose import Encoder, keypoint_heatmaps

__all__ = ["HRFOV", "MfvPose", "gain_at_depth", "mfvpose"]

RATES = (6, 12, 18)


class HRFOV(nn.Module):
    """High-resolution field of view: four branches, each atrous one fed by the branch before it.

    A 1x1 convolution, then 3x3 ones of rising rates in a cascade; their four results and a 1x1
    projection of the trunk's low-level map are joined and brought back to W channels. Each
    convolution has a BatchNorm and a ReLU.

    Four branches, the cascade, rising rates, the low-level map and the absence of pooling are the
    paper's words. The rates (those of the waterfall module of UniPose, Artacho and Savakis, CVPR
    2020), the widths and the place of the low-level map are ours.

    Args:
        low_channels: Channels of the low-level map.
        channels: W, those of the trunk's map and of the result.
        rates: Dilation of the 3x3 convolutions.
    """

    def __init__(self, low_channels: int, channels: int, rates: Sequence[int] = RATES) -> None:
        super().__init__()
        self.low = conv_bn(low_channels, channels, 1)
        self.cascade = nn.ModuleList(
            [conv_bn(channels, channels, 1)]
            + [conv_bn(channels, channels, 3, dilation=rate) for rate in rates]
        )
        self.merge = conv_bn((len(rates) + 2) * channels, channels, 1)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """(B, low, h, w) and (B, W, h, w) to (B, W, h, w)."""
        branches = []
        x = high
        for branch in self.cascade:
            x = branch(x)
            branches.append(x)
        merged: Tensor = self.merge(torch.cat([*branches, self.low(low)], dim=1))
        return merged


class MfvPose(nn.Module):
    """HRNet-S, HRFOV over its layer1 and its last map, and TokenPose's transformer with gains.

    Args:
        input_size: (height, width), multiples of 16 and of four times the patch.
        num_keypoints: K.
        width: HRNet's width.
        encoder: Sizes of the transformer.
    """

    def __init__(
        self, input_size: tuple[int, int], num_keypoints: int, *, width: int, encoder: Encoder
    ) -> None:
        super().__init__()
        grid = (input_size[0] // 4, input_size[1] // 4)
        self.trunk = HRNet(width, THREE_STAGES)
        self.view = HRFOV(LAYER1_CHANNELS, width)
        self.heatmaps = keypoint_heatmaps(width, grid, num_keypoints, encoder)
        initialise_convs(self.view)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Normalised images (B, 3, H, W) to ``heatmaps`` (B, K, H/4, W/4)."""
        low = self.trunk.layer1(self.trunk.stem(images))  # (B, 256, H/4, W/4)
        high = self.trunk.exchange(low)  # (B, W, H/4, W/4)
        return {"heatmaps": self.heatmaps(self.view(low, high))}


def gain_at_depth(layers: int) -> float:
    """Where the gains of a transformer of so many layers start (CaiT, section 2.1)."""
    if layers <= 18:
        return 0.1
    return 1e-5 if layers <= 24 else 1e-6


def mfvpose(
    input_size: tuple[int, int],
    num_keypoints: int,
    *,
    width: int,
    depths: Sequence[int],
    heads: int,
    patch: tuple[int, int] = (4, 3),
    gain: float | None = None,
) -> MfvPose:
    """MfvPose of any width and depth.

    Args:
        input_size: (height, width).
        num_keypoints: K.
        width: HRNet's width.
        depths: Layers of each stack. The paper gives their sum alone: ours are one stack up to 12
            layers, since 8 do not divide by TokenPose-L's three, and three of 8 for 24.
        heads: Attention heads; ours are those of the TokenPose of the same kind of stacks.
        patch: (height, width) of a patch, in cells.
        gain: Where the layers' gains start; by the number of layers (CaiT's rule) if None.
    """
    start = gain_at_depth(sum(depths)) if gain is None else gain
    encoder = Encoder(depths=depths, heads=heads, patch=patch, gain=start)
    return MfvPose(input_size, num_keypoints, width=width, encoder=encoder)
