"""Residual blocks (He et al., CVPR 2016), and the seam for layers that halve the resolution.

Every branch of a block that is summed with a skip starts silent (the scale of its last BatchNorm is
zero), so that a deep trunk starts as a shallow one.
"""

from __future__ import annotations

from typing import Protocol

import torch.nn.functional as F
from torch import Tensor, nn

from edgepose.models.layers import conv_bn

__all__ = ["BasicBlock", "Bottleneck", "Downsampler", "strided_conv"]


class Downsampler(Protocol):
    """Makes a layer (B, in, H, W) -> (B, out, H/2, W/2)."""

    def __call__(self, in_channels: int, out_channels: int, *, activate: bool) -> nn.Module:
        """``activate`` is False where the result is summed before its activation."""
        ...


def strided_conv(in_channels: int, out_channels: int, *, activate: bool) -> nn.Module:
    """The common stride-2 layer: 3x3 convolution, BatchNorm and, if asked for, ReLU."""
    return conv_bn(in_channels, out_channels, 3, stride=2, activate=activate)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with an identity skip."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv_bn(channels, channels, 3)
        self.conv2 = conv_bn(channels, channels, 3, activate=False)
        _silence(self.conv2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        return F.relu(x + self.conv2(self.conv1(x)))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions with a skip, projected where the channels differ.

    Args:
        in_channels: Channels of the input.
        channels: Channels inside.
        out_channels: Channels of the output.
        conv: In the 3x3 convolution's place (with its norm and activation), where it halves the
            resolution.
        skip: In the skip's place, where the resolution halves.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        out_channels: int,
        *,
        conv: nn.Module | None = None,
        skip: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.reduce = conv_bn(in_channels, channels, 1)
        self.conv = conv_bn(channels, channels, 3) if conv is None else conv
        self.expand = conv_bn(channels, out_channels, 1, activate=False)
        if skip is None and in_channels != out_channels:
            skip = conv_bn(in_channels, out_channels, 1, activate=False)
        self.skip: nn.Module = nn.Identity() if skip is None else skip
        _silence(self.expand)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) to (B, out, H, W), or half that size if ``conv`` and ``skip`` halve it."""
        return F.relu(self.skip(x) + self.expand(self.conv(self.reduce(x))))


def _silence(conv_norm: nn.Sequential) -> None:
    norm = conv_norm[1]
    assert isinstance(norm, nn.BatchNorm2d)  # noqa: S101 - what conv_bn builds
    nn.init.zeros_(norm.weight)
