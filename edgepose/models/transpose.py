"""TransPose-H (Yang et al., ICCV 2021): a transformer encoder over every cell of HRNet's map."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from edgepose.models.encoder import Attention, PostNormLayer
from edgepose.models.hrnet import THREE_STAGES, HRNet
from edgepose.models.layers import initialise_convs, initialise_projection
from edgepose.models.sine import sine_table

__all__ = ["MapEncoder", "TransPose", "transpose"]


class MapEncoder(nn.Module):
    """Layers over the cells of a map, told in each of them where every cell lies (section 3.2).

    The sine table is frozen and counts as a parameter, as it does with the authors.

    Args:
        channels: d.
        grid: (height, width) of the map.
        depth: Layers.
        heads: Attention heads.
        hidden: Width of the layers' MLPs.
        dropout: In the layers.
    """

    def __init__(
        self,
        channels: int,
        grid: tuple[int, int],
        *,
        depth: int,
        heads: int,
        hidden: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.position = nn.Parameter(sine_table(channels, *grid), requires_grad=False)
        self.layers = nn.ModuleList(
            PostNormLayer(channels, heads, hidden, dropout=dropout) for _ in range(depth)
        )
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, Attention):
                for layer in (module.q, module.k, module.v):
                    # The authors hold these three in one matrix, whose fan-out is three times that.
                    nn.init.xavier_uniform_(layer.weight, gain=2**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """(B, d, h, w) to the same shape."""
        position = self.position.flatten(2).transpose(1, 2)  # (1, T, d)
        tokens: Tensor = x.flatten(2).transpose(1, 2)  # (B, T, d)
        for layer in self.layers:
            tokens = layer(tokens, position)
        return tokens.transpose(1, 2).reshape(-1, *x.shape[1:])  # (B, d, h, w)


class TransPose(nn.Module):
    """HRNet-S, the encoder at a quarter of the images' resolution, and a 1x1 convolution.

    Args:
        input_size: (height, width), multiples of 16.
        num_keypoints: K.
        width: HRNet's width.
        channels: d of the encoder.
        depth: Its layers.
        heads: Its attention heads.
        hidden: Width of its MLPs.
        dropout: In its layers.

    Attributes:
        position_tables: Parameters (1, d, h, w) that follow the input size; see ``load_weights``.
            The table holds at most one period over the map, so that resampling it is accurate.
    """

    position_tables: ClassVar[tuple[str, ...]] = ("encoder.position",)

    def __init__(
        self,
        input_size: tuple[int, int],
        num_keypoints: int,
        *,
        width: int,
        channels: int,
        depth: int,
        heads: int,
        hidden: int,
        dropout: float,
    ) -> None:
        super().__init__()
        grid = (input_size[0] // 4, input_size[1] // 4)
        self.trunk = HRNet(width, THREE_STAGES)
        self.reduce = nn.Conv2d(width, channels, 1, bias=False)
        self.encoder = MapEncoder(
            channels, grid, depth=depth, heads=heads, hidden=hidden, dropout=dropout
        )
        self.head = nn.Conv2d(channels, num_keypoints, 1)
        # No norm precedes the first layer: at full size its softmax would start saturated.
        initialise_projection(self.reduce)
        initialise_convs(self.head)
        nn.init.normal_(self.head.weight, std=0.001)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Normalised images (B, 3, H, W) to ``heatmaps`` (B, K, H/4, W/4)."""
        return {"heatmaps": self.head(self.encoder(self.reduce(self.trunk(images))))}


def transpose(
    input_size: tuple[int, int],
    num_keypoints: int,
    *,
    width: int = 32,
    channels: int = 64,
    depth: int = 4,
    heads: int = 1,
    hidden: int = 128,
    dropout: float = 0.1,
) -> TransPose:
    """TransPose-H; the defaults are TransPose-H-S (table 1).

    The paper gives no dropout; 0.1 is what the authors trained with.
    """
    return TransPose(
        input_size,
        num_keypoints,
        width=width,
        channels=channels,
        depth=depth,
        heads=heads,
        hidden=hidden,
        dropout=dropout,
    )
