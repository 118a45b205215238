"""TokenPose (Li et al., ICCV 2021): a learned token per keypoint beside those of image patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from edgepose.models.encoder import PreNormLayer
from edgepose.models.hrnet import THREE_STAGES, HRNet
from edgepose.models.layers import initialise_projection
from edgepose.models.sine import sine_table

__all__ = [
    "Encoder",
    "HeatmapHead",
    "KeypointTokens",
    "TokenPose",
    "keypoint_heatmaps",
    "tokenpose",
]

MLP_RATIO = 3


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """Sizes of the transformer.

    Attributes:
        depths: Layers of each stack. The stacks run in series and each hands its keypoint tokens to
            the head: one of 12 is TokenPose-B, three of 8 are TokenPose-L/D24.
        heads: Attention heads.
        patch: (height, width) of a patch, in cells of the map.
        channels: d.
        gain: Where the layers' gains start (:class:`~edgepose.models.encoder.LayerScale`); None
            for TokenPose, which has none.
    """

    depths: Sequence[int]
    heads: int
    patch: tuple[int, int] = (4, 3)
    channels: int = 192
    gain: float | None = None


class KeypointTokens(nn.Module):
    """From a map to what the keypoints' tokens have become after each stack (section 3.1).

    The keypoints' tokens come first. The sine table is added to the patches' tokens alone, ahead of
    every layer but the first of the second and later stacks. It is frozen and counts as a
    parameter, as it does with the authors.

    Args:
        in_channels: Channels of the map.
        grid: Its (height, width), multiples of the patch's.
        num_keypoints: K.
        encoder: Sizes.
    """

    def __init__(
        self, in_channels: int, grid: tuple[int, int], num_keypoints: int, encoder: Encoder
    ) -> None:
        super().__init__()
        patch, channels = encoder.patch, encoder.channels
        if grid[0] % patch[0] or grid[1] % patch[1]:
            raise AssertionError(f"a {grid} map does not split into {patch} patches")
        self.num_keypoints = num_keypoints
        self.keypoints = nn.Parameter(torch.empty(1, num_keypoints, channels))
        # A linear layer on each patch's values is a convolution that strides by whole patches.
        self.embed = nn.Conv2d(in_channels, channels, patch, stride=patch)
        table = sine_table(channels, grid[0] // patch[0], grid[1] // patch[1])
        self.position = nn.Parameter(table.flatten(2).transpose(1, 2), requires_grad=False)
        self.stacks = nn.ModuleList(
            nn.ModuleList(
                PreNormLayer(channels, encoder.heads, MLP_RATIO * channels, gain=encoder.gain)
                for _ in range(depth)
            )
            for depth in encoder.depths
        )
        nn.init.trunc_normal_(self.keypoints, std=0.02)
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                initialise_projection(module)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to (B, K, d * stacks)."""
        patches = self.embed(x).flatten(2).transpose(1, 2)  # (B, T, d)
        keypoints = self.keypoints.expand(patches.shape[0], -1, -1)
        tokens = torch.cat([keypoints, patches + self.position], dim=1)  # (B, K + T, d)
        found = []
        for stack in self.stacks:
            for index, layer in enumerate(cast(nn.ModuleList, stack)):
                tokens = layer(tokens if index == 0 else self.placed(tokens))
            found.append(tokens[:, : self.num_keypoints])
        return torch.cat(found, dim=2)

    def placed(self, tokens: Tensor) -> Tensor:
        """The tokens, the patches' with their positions added."""
        keypoints, patches = tokens[:, : self.num_keypoints], tokens[:, self.num_keypoints :]
        return torch.cat([keypoints, patches + self.position], dim=1)


class HeatmapHead(nn.Module):
    """LayerNorm and linear layers from each keypoint's token to its heatmap (section 3.3).

    Args:
        channels: Channels of a token.
        grid: (height, width) of a heatmap.
        hidden: Width between two such pairs of layers; None for one pair.
    """

    def __init__(self, channels: int, grid: tuple[int, int], hidden: int | None) -> None:
        super().__init__()
        self.grid = grid
        widths = [channels, *([] if hidden is None else [hidden]), grid[0] * grid[1]]
        self.layers = nn.Sequential()
        for before, after in pairwise(widths):
            self.layers.extend([nn.LayerNorm(before), nn.Linear(before, after)])
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                initialise_projection(layer)
        nn.init.normal_(cast(nn.Linear, self.layers[-1]).weight, std=0.001)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, K, channels) to (B, K, h, w)."""
        heatmaps: Tensor = self.layers(tokens).unflatten(2, self.grid)
        return heatmaps


def keypoint_heatmaps(
    in_channels: int, grid: tuple[int, int], num_keypoints: int, encoder: Encoder
) -> nn.Sequential:
    """The whole transformer, from a map (B, C, h, w) to heatmaps (B, K, h, w).

    With one stack the head is TokenPose-B's: two pairs of layers, an eighth of the cells wide in
    between, where that is at least twice the token's width, and one pair on smaller maps (the rule
    in the authors' code). With several it is TokenPose-L's: one pair.
    """
    tokens = KeypointTokens(in_channels, grid, num_keypoints, encoder)
    channels = encoder.channels * len(encoder.depths)
    eighth = grid[0] * grid[1] // 8
    two = len(encoder.depths) == 1 and eighth >= 2 * channels
    return nn.Sequential(tokens, HeatmapHead(channels, grid, eighth if two else None))


class TokenPose(nn.Module):
    """HRNet-S and the transformer.

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
        self.heatmaps = keypoint_heatmaps(width, grid, num_keypoints, encoder)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Normalised images (B, 3, H, W) to ``heatmaps`` (B, K, H/4, W/4)."""
        return {"heatmaps": self.heatmaps(self.trunk(images))}


def tokenpose(
    input_size: tuple[int, int],
    num_keypoints: int,
    *,
    width: int,
    depths: Sequence[int],
    heads: int,
    patch: tuple[int, int] = (4, 3),
) -> TokenPose:
    """TokenPose-B (width 32, one stack) and -L (width 48, three stacks), table 1.

    At 256x192 patches are 4 cells high and 3 wide; for MPII's 256x256 the authors take 4x4.
    """
    encoder = Encoder(depths=depths, heads=heads, patch=patch)
    return TokenPose(input_size, num_keypoints, width=width, encoder=encoder)
