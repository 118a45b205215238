"""ViTPose (Xu et al., NeurIPS 2022): a plain vision transformer and one of two small decoders."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from edgepose.models.layers import doubling, initialise_convs
from edgepose.models.vit import PATCH, SIZES, Size, Trunk, ViTConfig, patch_embedding

__all__ = ["Decoder", "SimpleUpsampling", "ViTPose", "vitpose"]

Decoder = Literal["classic", "simple"]

CLASSIC_CHANNELS = 256


class SimpleUpsampling(nn.Module):
    """ReLU and four times the resolution, bilinearly (section 3.1, eq. 3)."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to (B, C, 4h, 4w)."""
        return F.interpolate(F.relu(x), scale_factor=4.0, mode="bilinear", align_corners=False)


class ViTPose(nn.Module):
    """The whole net: patches, transformer, decoder.

    Args:
        input_size: (height, width), multiples of 16.
        num_keypoints: K.
        config: Sizes of the transformer.
        decoder: ``classic`` (two transposed convolutions and a 1x1; section 3.1, eq. 2) or
            ``simple`` (bilinear and one 3x3; eq. 3).

    Attributes:
        position_tables: Parameters (1, d, h, w) that follow the input size; see ``load_weights``.
    """

    position_tables: ClassVar[tuple[str, ...]] = ("trunk.position",)

    def __init__(
        self,
        input_size: tuple[int, int],
        num_keypoints: int,
        config: ViTConfig,
        decoder: Decoder,
    ) -> None:
        super().__init__()
        self.embedding = patch_embedding(config.channels)
        self.trunk = Trunk(config, (input_size[0] // PATCH, input_size[1] // PATCH))
        if decoder == "classic":
            self.decoder: nn.Module = nn.Sequential(
                doubling(config.channels, CLASSIC_CHANNELS),
                doubling(CLASSIC_CHANNELS, CLASSIC_CHANNELS),
            )
            self.head = nn.Conv2d(CLASSIC_CHANNELS, num_keypoints, 1)
        else:
            self.decoder = SimpleUpsampling()
            self.head = nn.Conv2d(config.channels, num_keypoints, 3, padding=1)
        initialise_convs(self)
        nn.init.normal_(self.head.weight, std=0.001)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Normalised images (B, 3, H, W) to ``heatmaps`` (B, K, H/4, W/4)."""
        coarse = self.trunk(self.embedding(images))  # (B, d, H/16, W/16)
        return {"heatmaps": self.head(self.decoder(coarse))}


def vitpose(
    input_size: tuple[int, int], num_keypoints: int, *, size: Size, decoder: Decoder = "classic"
) -> ViTPose:
    """ViTPose of one of the paper's sizes.

    Args:
        input_size: (height, width), multiples of 16.
        num_keypoints: K.
        size: ``s``, ``b``, ``l`` or ``h``.
        decoder: The classic one by default: the paper's main results are its (75.8 AP against 75.5
            with the simple one, for ``b``). The 86 M parameters that tables give ``b`` are those of
            the transformer alone (85.8 M), whichever decoder follows.
    """
    return ViTPose(input_size, num_keypoints, SIZES[size], decoder)
