"""MiTPOSE at the size that its table prints, reconstructed.

The authors' figure, code and tables contradict one another (the code as published has 151 to 155 M
parameters, the table 90.1 M). This net is our reading of all three: ViTPose-B with the simple
decoder, the figure's SCConv and the code's multi-scale module behind the patch embedding, the
latter with depthwise kernels. It has 90.07 M parameters. That may be luck.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from edgepose.models.layers import initialise_convs
from edgepose.models.mitpose import CRU, ThresholdSRU
from edgepose.models.vit import PATCH, SIZES, Trunk, ViTConfig, patch_embedding
from edgepose.models.vitpose import SimpleUpsampling

__all__ = [
    "ChannelAttention",
    "Kernels",
    "MitPoseB",
    "MultiScale",
    "SCConv",
    "SpatialAttention",
    "mitpose_b",
]

Kernels = Literal["depthwise", "dense"]


class SCConv(nn.Module):
    """SRU, then CRU (SCConv, Li et al., CVPR 2023, figure 1), without a skip."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.sru = ThresholdSRU(channels)
        self.cru = CRU(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        refined: Tensor = self.cru(self.sru(x))
        return refined


class ChannelAttention(nn.Module):
    """Channels weighed by their means and maxima (CBAM, Woo et al., ECCV 2018, eq. 2)."""

    def __init__(self, channels: int, ratio: int = 16) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Conv2d(channels, channels // ratio, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels // ratio, channels, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        means, maxima = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        return x * torch.sigmoid(self.mlp(means) + self.mlp(maxima))


class SpatialAttention(nn.Module):
    """Cells weighed by a 7x7 convolution of their mean and maximum over channels (CBAM, eq. 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        seen = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)
        return x * torch.sigmoid(self.conv(seen))


class MultiScale(nn.Module):
    """Three kernel sizes side by side, then two attentions side by side, each pair with a skip.

    Args:
        channels: C.
        kernels: See :func:`mitpose_b`.
    """

    def __init__(self, channels: int, kernels: Kernels) -> None:
        super().__init__()
        groups = channels if kernels == "depthwise" else 1
        self.lead: nn.Module = (
            nn.Identity() if kernels == "depthwise" else nn.Conv2d(channels, channels, 1)
        )
        self.convs = nn.ModuleList(
            nn.Conv2d(channels, channels, k, padding=k // 2, groups=groups) for k in (7, 5, 3)
        )
        self.fuse_scales = nn.Conv2d(3 * channels, channels, 1)
        self.channel = ChannelAttention(channels)
        self.spatial = SpatialAttention()
        self.fuse_attentions = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        led = self.lead(x)
        x = x + self.fuse_scales(torch.cat([conv(led) for conv in self.convs], dim=1))
        attended = torch.cat([self.channel(x), self.spatial(x)], dim=1)  # (B, 2C, H, W)
        mixed: Tensor = x + self.fuse_attentions(attended)
        return mixed


class MitPoseB(nn.Module):
    """The whole net.

    Args:
        input_size: (height, width), multiples of 16.
        num_keypoints: K.
        config: Sizes of the transformer.
        kernels: See :func:`mitpose_b`.

    Attributes:
        position_tables: Parameters (1, d, h, w) that follow the input size; see ``load_weights``.
    """

    position_tables: ClassVar[tuple[str, ...]] = ("trunk.position",)

    def __init__(
        self,
        input_size: tuple[int, int],
        num_keypoints: int,
        config: ViTConfig,
        kernels: Kernels,
    ) -> None:
        super().__init__()
        self.embedding = patch_embedding(config.channels)
        self.scconv = SCConv(config.channels)
        self.multi_scale = MultiScale(config.channels, kernels)
        self.trunk = Trunk(config, (input_size[0] // PATCH, input_size[1] // PATCH))
        self.decoder = SimpleUpsampling()
        self.head = nn.Conv2d(config.channels, num_keypoints, 3, padding=1)
        initialise_convs(self)
        nn.init.normal_(self.head.weight, std=0.001)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Normalised images (B, 3, H, W) to ``heatmaps`` (B, K, H/4, W/4)."""
        x = self.embedding(images)  # (B, d, H/16, W/16)
        x = self.trunk(self.multi_scale(x + self.scconv(x)))
        return {"heatmaps": self.head(self.decoder(x))}


def mitpose_b(
    input_size: tuple[int, int], num_keypoints: int, *, kernels: Kernels = "depthwise"
) -> MitPoseB:
    """MiTPOSE on ViT-B.

    Args:
        input_size: (height, width), multiples of 16.
        num_keypoints: K.
        kernels: Of the multi-scale module: ``depthwise``, with which the net has the table's size,
            or ``dense`` behind a 1x1 as in the authors' code, which adds 49.5 M parameters.
    """
    return MitPoseB(input_size, num_keypoints, SIZES["b"], kernels)
