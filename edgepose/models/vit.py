"""Plain vision transformer (Dosovitskiy et al., ICLR 2021), as ViTPose and its relatives use it.

Between the embedding of patches and the decoder it takes a map (B, d, H/16, W/16) to another of the
same shape, so that another embedding can be put before it (see :mod:`edgepose.models.refinepose`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from edgepose.models.encoder import MLP, TokenAttention
from edgepose.models.layers import initialise_projection

__all__ = ["SIZES", "Size", "Trunk", "ViTBlock", "ViTConfig", "patch_embedding"]

Size = Literal["s", "b", "l", "h"]

PATCH = 16
LAYER_NORM_EPS = 1e-6


@dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """Sizes of a vision transformer.

    Attributes:
        channels: Width d of the tokens.
        depth: Blocks.
        heads: Attention heads of each.
    """

    channels: int
    depth: int
    heads: int


# "s" has 12 heads (of 32 channels) as in ViTPose's code; elsewhere ViT-S has 6.
SIZES: dict[Size, ViTConfig] = {
    "s": ViTConfig(channels=384, depth=12, heads=12),
    "b": ViTConfig(channels=768, depth=12, heads=12),
    "l": ViTConfig(channels=1024, depth=24, heads=16),
    "h": ViTConfig(channels=1280, depth=32, heads=16),
}


def patch_embedding(channels: int) -> nn.Conv2d:
    """Patches of 16x16 pixels to tokens: (B, 3, H, W) to (B, d, H/16, W/16).

    The padding of 2 is ViTPose's: its patches begin 2 pixels left of and above the image, and the
    last 2 rows and columns of pixels are never seen.
    """
    return nn.Conv2d(3, channels, PATCH, stride=PATCH, padding=2)


class ViTBlock(nn.Module):
    """x + attention(LN x), then x + MLP(LN x) with an MLP of four times the width and GELU."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(channels, eps=LAYER_NORM_EPS)
        self.attention = TokenAttention(channels, heads)
        self.norm_mlp = nn.LayerNorm(channels, eps=LAYER_NORM_EPS)
        self.mlp = MLP(channels, 4 * channels, nn.GELU())

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d) to the same shape."""
        x = x + self.attention(self.norm_attention(x))
        mixed: Tensor = x + self.mlp(self.norm_mlp(x))
        return mixed


class Trunk(nn.Module):
    """Position table, blocks and a final norm, on a map.

    The table of ViTPose has a row for every cell and one more (the class token's, before ViTPose
    dropped that token), which it adds to every cell. Here they are two parameters: ``position``
    (1, d, h, w), which ``load_weights`` resamples bilinearly where weights were made at another
    input size, and ``shared_position`` (1, d, 1, 1), which has no place and stays as it is.

    Args:
        config: Sizes.
        grid: (h, w) of the map.
        shortcut_every: After so many blocks their common input is added to their output once more
            (RefinePose's group shortcuts); None for none.
    """

    def __init__(
        self, config: ViTConfig, grid: tuple[int, int], *, shortcut_every: int | None = None
    ) -> None:
        super().__init__()
        if shortcut_every is not None and config.depth % shortcut_every:
            raise AssertionError(f"{config.depth} blocks are no groups of {shortcut_every}")
        self.shortcut_every = shortcut_every
        self.position = nn.Parameter(torch.empty(1, config.channels, *grid))
        self.shared_position = nn.Parameter(torch.empty(1, config.channels, 1, 1))
        self.blocks = nn.ModuleList(
            ViTBlock(config.channels, config.heads) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.channels, eps=LAYER_NORM_EPS)
        self._initialise()

    def _initialise(self) -> None:
        for table in (self.position, self.shared_position):
            nn.init.trunc_normal_(table, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                initialise_projection(module)

    def forward(self, x: Tensor) -> Tensor:
        """(B, d, h, w) to the same shape."""
        grid = x.shape[2:]
        located = x + (self.position + self.shared_position)
        tokens = located.flatten(2).transpose(1, 2)  # (B, h * w, d)
        if self.shortcut_every is None:
            tokens = self._through(tokens, 0, len(self.blocks))
        else:
            for first in range(0, len(self.blocks), self.shortcut_every):
                tokens = tokens + self._through(tokens, first, first + self.shortcut_every)
        mixed: Tensor = torch.unflatten(self.norm(tokens).transpose(1, 2), 2, grid)  # (B, d, h, w)
        return mixed

    def _through(self, tokens: Tensor, first: int, last: int) -> Tensor:
        for block in self.blocks[first:last]:
            tokens = block(tokens)
        return tokens
