"""RefinePose (Dong et al., Electronics 11:4060, 2022): ViTPose with gentler ends.

Images become tokens in four halvings instead of one leap of 16 (Gradual Embedding), the input of
every four transformer blocks is added to their output once more, and the decoder puts values back
where the embedding's max pooling took them from (Fusion Decoder). The paper prints no sizes of this
part; biases, the kernel of the last embedding layer and the position table are our choice.

The decoder makes the net discontinuous: which cell of a 2x2 window is the largest is an argmax, and
where two are equal to the last digits rounding decides between them.
"""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from edgepose.models.layers import initialise_convs
from edgepose.models.vit import PATCH, SIZES, Size, Trunk, ViTConfig

__all__ = [
    "FusionStep",
    "GradualEmbedding",
    "Matching",
    "PoolWithPlaces",
    "RefinePose",
    "ScaleBlock",
    "Unpool",
    "aggregation",
    "refinepose",
]

Matching = Literal["tile", "halve"]

BLOCKS_PER_GROUP = 4


def aggregation(in_channels: int, out_channels: int) -> nn.Sequential:
    """Feature aggregation FA: depthwise 3x3, 1x1, BatchNorm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False),
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class PoolWithPlaces(nn.Module):
    """2x2 max pooling that also tells where each maximum was.

    Of equal values the first in reading order is taken. What "places" are is a matter between this
    module and :class:`Unpool`; here, flat indices into each channel's plane.
    """

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, 2h, 2w) to maxima (B, C, h, w) and their places."""
        maxima, places = F.max_pool2d(x, 2, return_indices=True)
        return maxima, places


class Unpool(nn.Module):
    """Twice the resolution: every value where the pooling's maximum was, zero elsewhere.

    Args:
        copies: How many times as many channels the values have as the pooling had. Channel k takes
            the places of the pooling's channel k mod C.
    """

    def __init__(self, copies: int = 1) -> None:
        super().__init__()
        self.copies = copies

    def forward(self, x: Tensor, places: Tensor) -> Tensor:
        """Values (B, copies * C, h, w) and places of C channels to (B, copies * C, 2h, 2w)."""
        return F.max_unpool2d(x, places.repeat(1, self.copies, 1, 1), [2, 2])


class ScaleBlock(nn.Module):
    """Half the resolution, twice the channels: strided 3x3 plus the max pooling of a 1x1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1)
        self.point = nn.Conv2d(channels, 2 * channels, 1)
        self.pool = PoolWithPlaces()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, 2h, 2w) to (B, 2C, h, w) and the places of the pooling's maxima."""
        maxima, places = self.pool(self.point(x))
        return self.conv(x) + maxima, places


class Embedded(NamedTuple):
    """What :class:`GradualEmbedding` gives.

    Attributes:
        coarse: Tokens as a map (B, d, H/16, W/16).
        middle_places: Places of the pooling from 1/4 to 1/8, of d/2 channels.
        coarse_places: Places of the pooling from 1/8 to 1/16, of d channels.
    """

    coarse: Tensor
    middle_places: Tensor
    coarse_places: Tensor


class GradualEmbedding(nn.Module):
    """Images to tokens in four halvings, from d/8 channels to d (eq. 9 and 10)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        fine = channels // 8
        self.stem = nn.Sequential(
            nn.Conv2d(3, fine, 7, stride=2, padding=3, bias=False),
            nn.Conv2d(fine, fine, 1),
            aggregation(fine, fine),
        )
        widths = (fine, 2 * fine, 4 * fine)
        self.scales = nn.ModuleList(ScaleBlock(width) for width in widths)
        self.aggregations = nn.ModuleList(aggregation(2 * width, 2 * width) for width in widths)
        self.final = nn.Sequential(
            nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, images: Tensor) -> Embedded:
        """(B, 3, H, W) to the map of tokens, and where two of the poolings found their maxima."""
        x = self.stem(images)  # (B, d/8, H/2, W/2)
        places = []
        for scale, aggregate in zip(self.scales, self.aggregations, strict=True):
            x, found = scale(x)
            x = aggregate(x)
            places.append(found)
        return Embedded(self.final(x), places[1], places[2])


class FusionStep(nn.Module):
    """One doubling of the Fusion Decoder: unpooled plus bilinear, then two aggregations.

    Args:
        in_channels: Channels of the coarse map.
        out_channels: Channels of the result.
        copies: See :class:`Unpool`.
    """

    def __init__(self, in_channels: int, out_channels: int, *, copies: int = 1) -> None:
        super().__init__()
        self.unpool = Unpool(copies)
        self.refine = nn.Sequential(
            aggregation(in_channels, in_channels), aggregation(in_channels, out_channels)
        )

    def forward(self, x: Tensor, places: Tensor) -> Tensor:
        """(B, C, h, w) to (B, out, 2h, 2w)."""
        smooth = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        refined: Tensor = self.refine(self.unpool(x, places) + smooth)
        return refined


class RefinePose(nn.Module):
    """The whole net.

    Args:
        input_size: (height, width), multiples of 16.
        num_keypoints: K.
        config: Sizes of the transformer.
        matching: See :func:`refinepose`.

    Attributes:
        position_tables: Parameters (1, d, h, w) that follow the input size; see ``load_weights``.
    """

    position_tables: ClassVar[tuple[str, ...]] = ("trunk.position",)

    def __init__(
        self,
        input_size: tuple[int, int],
        num_keypoints: int,
        config: ViTConfig,
        matching: Matching,
    ) -> None:
        super().__init__()
        channels = config.channels
        fine = channels if matching == "tile" else channels // 2
        self.embedding = GradualEmbedding(channels)
        self.trunk = Trunk(
            config,
            (input_size[0] // PATCH, input_size[1] // PATCH),
            shortcut_every=BLOCKS_PER_GROUP,
        )
        self.to_middle = FusionStep(channels, fine)
        self.to_fine = FusionStep(fine, fine, copies=fine // (channels // 2))
        self.head = nn.Conv2d(fine, num_keypoints, 3, padding=1)
        initialise_convs(self)
        nn.init.normal_(self.head.weight, std=0.001)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Normalised images (B, 3, H, W) to ``heatmaps`` (B, K, H/4, W/4)."""
        embedded = self.embedding(images)
        coarse = self.trunk(embedded.coarse)  # (B, d, H/16, W/16)
        middle = self.to_middle(coarse, embedded.coarse_places)  # (B, fine, H/8, W/8)
        return {"heatmaps": self.head(self.to_fine(middle, embedded.middle_places))}


def refinepose(
    input_size: tuple[int, int], num_keypoints: int, *, size: Size, matching: Matching = "tile"
) -> RefinePose:
    """RefinePose on a vision transformer of one of ViTPose's sizes.

    Args:
        input_size: (height, width), multiples of 16.
        num_keypoints: K.
        size: ``b``, ``l`` and ``h`` are the paper's; ``s`` is our edge-sized addition.
        matching: How the decoder's second step gets its places. The pooling that fits its
            resolution has d/2 channels, the paper's decoder d, and the paper does not say how one
            goes with the other. ``tile`` uses each place for two channels and keeps the d channels
            that the paper prints; ``halve`` makes the first step end with d/2 channels, which then
            fit, with 6 to 13 % fewer multiply-adds.
    """
    return RefinePose(input_size, num_keypoints, SIZES[size], matching)
