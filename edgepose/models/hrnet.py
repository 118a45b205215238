"""HRNet (Sun et al., CVPR 2019): parallel branches that exchange information at every module.

All layers that halve the resolution are made by the factories in :class:`Downsampling`, so that
another block can take their place (see :mod:`edgepose.models.mgil`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor, nn

from edgepose.models.layers import conv_bn, initialise_convs

__all__ = ["Downsampler", "Downsampling", "HRNet", "strided_conv"]

STEM_CHANNELS = 64
LAYER1_CHANNELS = 256
BLOCKS_PER_BRANCH = 4


class Downsampler(Protocol):
    """Makes a layer (B, in, H, W) -> (B, out, H/2, W/2)."""

    def __call__(self, in_channels: int, out_channels: int, *, activate: bool) -> nn.Module:
        """``activate`` is False where the result is summed before its activation."""
        ...


def strided_conv(in_channels: int, out_channels: int, *, activate: bool) -> nn.Module:
    """HRNet's own stride-2 layer: 3x3 convolution, BatchNorm and, if asked for, ReLU."""
    return conv_bn(in_channels, out_channels, 3, stride=2, activate=activate)


@dataclass(frozen=True, kw_only=True)
class Downsampling:
    """Who makes the stride-2 layers, by the place they stand in.

    Attributes:
        stem: The two layers ahead of layer1.
        transition: The layers that start a new branch.
        fusion: The chains that carry a fine branch to a coarse one inside a module.
    """

    stem: Downsampler = strided_conv
    transition: Downsampler = strided_conv
    fusion: Downsampler = strided_conv


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with an identity skip (He et al., CVPR 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv_bn(channels, channels, 3)
        self.conv2 = conv_bn(channels, channels, 3, activate=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.conv2(self.conv1(x)))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions with a skip, projected where the channels differ."""

    def __init__(self, in_channels: int, channels: int, out_channels: int) -> None:
        super().__init__()
        self.reduce = conv_bn(in_channels, channels, 1)
        self.conv = conv_bn(channels, channels, 3)
        self.expand = conv_bn(channels, out_channels, 1, activate=False)
        self.skip: nn.Module = (
            nn.Identity()
            if in_channels == out_channels
            else conv_bn(in_channels, out_channels, 1, activate=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.skip(x) + self.expand(self.conv(self.reduce(x))))


class Fusion(nn.Module):
    """Sum of all branches at one target branch's resolution, then ReLU.

    Args:
        channels: Channels of the branches, finest first; each has half the resolution of the last.
        target: Index of the target branch.
        downsampler: Makes the stride-2 layers; the last one of a chain is not activated.
    """

    def __init__(self, channels: Sequence[int], target: int, downsampler: Downsampler) -> None:
        super().__init__()
        self.paths = nn.ModuleList(
            _fusion_path(channels, source, target, downsampler) for source in range(len(channels))
        )

    def forward(self, branches: list[Tensor]) -> Tensor:
        first, *rest = (path(x) for path, x in zip(self.paths, branches, strict=True))
        return F.relu(sum(rest, start=first))


def _fusion_path(
    channels: Sequence[int], source: int, target: int, downsampler: Downsampler
) -> nn.Module:
    if source == target:
        return nn.Identity()
    if source > target:
        return nn.Sequential(
            conv_bn(channels[source], channels[target], 1, activate=False),
            nn.Upsample(scale_factor=float(2 ** (source - target)), mode="nearest"),
        )
    steps = target - source
    return nn.Sequential(
        *(downsampler(channels[source], channels[source], activate=True) for _ in range(steps - 1)),
        downsampler(channels[source], channels[target], activate=False),
    )


class ExchangeModule(nn.Module):
    """Four basic blocks on every branch, then a fusion into the ``targets`` finest ones."""

    def __init__(self, channels: Sequence[int], targets: int, downsampler: Downsampler) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(c) for _ in range(BLOCKS_PER_BRANCH))) for c in channels
        )
        self.fusions = nn.ModuleList(Fusion(channels, t, downsampler) for t in range(targets))

    def forward(self, branches: list[Tensor]) -> list[Tensor]:
        refined = [blocks(x) for blocks, x in zip(self.branches, branches, strict=True)]
        return [fusion(refined) for fusion in self.fusions]


class HRNet(nn.Module):
    """The trunk: images to one map at a quarter of their resolution.

    Args:
        width: Channels W of the finest branch; branch i has W * 2**i.
        modules: Exchange modules in stages 2, 3, ...; stage k has k branches. (1, 4) is the
            three-stage trunk of TransPose and TokenPose.
        downsampling: Makers of the stride-2 layers.

    The images' height and width must be multiples of 2**(len(modules) + 2).
    """

    def __init__(
        self,
        width: int,
        modules: Sequence[int] = (1, 4, 3),
        downsampling: Downsampling | None = None,
    ) -> None:
        super().__init__()
        down = downsampling or Downsampling()
        self.stem = nn.Sequential(
            down.stem(3, STEM_CHANNELS, activate=True),
            down.stem(STEM_CHANNELS, STEM_CHANNELS, activate=True),
        )
        self.layer1 = nn.Sequential(
            Bottleneck(STEM_CHANNELS, STEM_CHANNELS, LAYER1_CHANNELS),
            *(Bottleneck(LAYER1_CHANNELS, STEM_CHANNELS, LAYER1_CHANNELS) for _ in range(3)),
        )
        channels = [width * 2**i for i in range(len(modules) + 1)]
        self.first_branch = conv_bn(LAYER1_CHANNELS, channels[0], 3)
        sources = [LAYER1_CHANNELS, *channels[1:]]
        self.new_branches = nn.ModuleList(
            down.transition(sources[i], channels[i + 1], activate=True) for i in range(len(modules))
        )
        self.stages = nn.ModuleList()
        for stage, count in enumerate(modules):
            branches = channels[: stage + 2]
            last_stage = stage == len(modules) - 1
            self.stages.append(
                nn.Sequential(
                    *(
                        ExchangeModule(
                            branches,
                            1 if last_stage and i == count - 1 else len(branches),
                            down.fusion,
                        )
                        for i in range(count)
                    )
                )
            )
        initialise_convs(self)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) to the finest branch (B, width, H/4, W/4)."""
        x = self.layer1(self.stem(images))  # (B, 256, H/4, W/4)
        branches = [self.first_branch(x)]
        coarsest = x
        for new_branch, stage in zip(self.new_branches, self.stages, strict=True):
            branches = stage([*branches, new_branch(coarsest)])
            coarsest = branches[-1]
        finest: Tensor = branches[0]
        return finest
