"""HRNet (Sun et al., CVPR 2019): parallel branches that exchange information at every module.

All layers that halve the resolution are made by the factories in :class:`Downsampling`, so that
another block can take their place (see :mod:`edgepose.models.mgil`). So can the residual blocks of
any branch (see :mod:`edgepose.models.vttranspose`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor, nn

from edgepose.models.heatmap import HeatmapModel
from edgepose.models.layers import conv_bn, initialise_convs
from edgepose.models.residual import BasicBlock, Bottleneck, Downsampler, strided_conv

__all__ = [
    "LAYER1_CHANNELS",
    "THREE_STAGES",
    "BlockMaker",
    "Downsampling",
    "HRNet",
    "basic_block",
    "hrnet",
]

STEM_CHANNELS = 64
LAYER1_CHANNELS = 256
BLOCKS_PER_BRANCH = 4
THREE_STAGES = (1, 4)  # HRNet-S, the trunk of TransPose and TokenPose: it ends with stage 3


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


class BlockMaker(Protocol):
    """Makes a residual block (B, C, H, W) -> (B, C, H, W) of an exchange module."""

    def __call__(self, channels: int, *, stage: int, branch: int) -> nn.Module:
        """``stage`` counts as in the paper (from 2), ``branch`` from 0, the finest."""
        ...


def basic_block(channels: int, *, stage: int, branch: int) -> nn.Module:
    """HRNet's own: the same block everywhere."""
    del stage, branch
    return BasicBlock(channels)


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
    """Four residual blocks on every branch, then a fusion into the ``targets`` finest ones."""

    def __init__(
        self,
        channels: Sequence[int],
        targets: int,
        downsampler: Downsampler,
        stage: int,
        make_block: BlockMaker,
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(
                *(make_block(c, stage=stage, branch=branch) for _ in range(BLOCKS_PER_BRANCH))
            )
            for branch, c in enumerate(channels)
        )
        self.fusions = nn.ModuleList(Fusion(channels, t, downsampler) for t in range(targets))

    def forward(self, branches: list[Tensor]) -> list[Tensor]:
        refined = [blocks(x) for blocks, x in zip(self.branches, branches, strict=True)]
        return [fusion(refined) for fusion in self.fusions]


class HRNet(nn.Module):
    """The trunk: images to one map at a quarter of their resolution.

    Args:
        width: Channels W of the finest branch; branch i has W * 2**i.
        modules: Exchange modules in stages 2, 3, ...; stage k has k branches. See
            also :data:`THREE_STAGES`.
        downsampling: Makers of the stride-2 layers.
        make_block: Maker of the branches' residual blocks.

    The images' height and width must be multiples of 2**(len(modules) + 2).
    """

    def __init__(
        self,
        width: int,
        modules: Sequence[int] = (1, 4, 3),
        downsampling: Downsampling | None = None,
        make_block: BlockMaker = basic_block,
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
                            stage + 2,
                            make_block,
                        )
                        for i in range(count)
                    )
                )
            )
        initialise_convs(self)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) to the finest branch (B, width, H/4, W/4)."""
        return self.exchange(self.layer1(self.stem(images)))

    def exchange(self, low: Tensor) -> Tensor:
        """layer1's map (B, 256, H/4, W/4) to the finest branch (B, width, H/4, W/4)."""
        branches = [self.first_branch(low)]
        coarsest = low
        for new_branch, stage in zip(self.new_branches, self.stages, strict=True):
            branches = stage([*branches, new_branch(coarsest)])
            coarsest = branches[-1]
        finest: Tensor = branches[0]
        return finest


def hrnet(input_size: tuple[int, int], num_keypoints: int, *, width: int) -> HeatmapModel:
    """HRNet with its heatmap head, as published for pose estimation (section 3 of the paper).

    Args:
        input_size: (height, width), multiples of 32. The net is the same at every size.
        num_keypoints: K.
        width: Channels W of the finest branch, 32 or 48 in the paper.
    """
    del input_size
    return HeatmapModel(HRNet(width), width, num_keypoints)
