"""ResNet-50 (He et al., CVPR 2016), its stride on the 3x3 convolutions.

All layers that halve the resolution are made by the factories in :class:`ResNetDownsampling`, so
that another block can take their place (see :mod:`edgepose.models.mgil`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from edgepose.models.layers import conv_bn, initialise_convs
from edgepose.models.residual import Bottleneck, Downsampler, strided_conv

__all__ = ["RESNET_CHANNELS", "ResNet", "ResNetDownsampling"]

STEM_CHANNELS = 64
BLOCK_CHANNELS = (64, 128, 256, 512)  # inside the bottlenecks of layers 1-4
EXPANSION = 4
RESNET50_DEPTHS = (3, 4, 6, 3)
RESNET_CHANNELS = BLOCK_CHANNELS[-1] * EXPANSION


def strided_stem(in_channels: int, out_channels: int, *, activate: bool) -> nn.Module:
    """ResNet's first layer: 7x7 convolution, BatchNorm and, if asked for, ReLU."""
    return conv_bn(in_channels, out_channels, 7, stride=2, activate=activate)


def max_pool(in_channels: int, out_channels: int, *, activate: bool) -> nn.Module:
    """ResNet's second layer. It pools activated values, and has nothing to activate itself."""
    del in_channels, out_channels, activate
    return nn.MaxPool2d(3, stride=2, padding=1)


def strided_projection(in_channels: int, out_channels: int, *, activate: bool) -> nn.Module:
    """The skip of a block that halves the resolution: 1x1 convolution that reads every 4th cell."""
    return conv_bn(in_channels, out_channels, 1, stride=2, activate=activate)


@dataclass(frozen=True, kw_only=True)
class ResNetDownsampling:
    """Who makes the stride-2 layers, by the place they stand in.

    Attributes:
        stem: The first layer, from the image.
        pool: The second layer; keeps the channels.
        block: The 3x3 convolution of the first block of layers 2-4; keeps the channels.
        skip: The skip of those blocks.
    """

    stem: Downsampler = strided_stem
    pool: Downsampler = max_pool
    block: Downsampler = strided_conv
    skip: Downsampler = strided_projection


class ResNet(nn.Module):
    """The trunk without its classifier: images to a map at 1/32 of their resolution.

    Args:
        depths: Bottlenecks in layers 1-4.
        downsampling: Makers of the stride-2 layers.

    The images' height and width must be multiples of 32.
    """

    def __init__(
        self,
        depths: Sequence[int] = RESNET50_DEPTHS,
        downsampling: ResNetDownsampling | None = None,
    ) -> None:
        super().__init__()
        down = downsampling or ResNetDownsampling()
        self.stem = down.stem(3, STEM_CHANNELS, activate=True)
        self.pool = down.pool(STEM_CHANNELS, STEM_CHANNELS, activate=True)
        self.layers = nn.ModuleList()
        in_channels = STEM_CHANNELS
        for channels, depth in zip(BLOCK_CHANNELS, depths, strict=True):
            out_channels = EXPANSION * channels
            first = (
                _halving_bottleneck(in_channels, channels, out_channels, down)
                if len(self.layers)
                else Bottleneck(in_channels, channels, out_channels)
            )
            others = (Bottleneck(out_channels, channels, out_channels) for _ in range(depth - 1))
            self.layers.append(nn.Sequential(first, *others))
            in_channels = out_channels
        initialise_convs(self)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) to (B, 2048, H/32, W/32)."""
        x: Tensor = self.pool(self.stem(images))  # (B, 64, H/4, W/4)
        for layer in self.layers:
            x = layer(x)
        return x


def _halving_bottleneck(
    in_channels: int, channels: int, out_channels: int, down: ResNetDownsampling
) -> Bottleneck:
    return Bottleneck(
        in_channels,
        channels,
        out_channels,
        conv=down.block(channels, channels, activate=True),
        skip=down.skip(in_channels, out_channels, activate=False),
    )
