"""Keypoint tokens and positions without scattering: two sums with tables made beforehand.

Adding positions to the patches' tokens alone means writing into a part of a tensor, which exports
as ScatterND (in place) or as Slice, Add and Concat (written out), in every layer. Instead a table
with zeros for the keypoints' rows is added to all tokens. The first of these tables holds the
learned keypoint tokens in those rows, and the patches' tokens get zeros there: so no Expand over
the batch is left either. x + 0 is x, to the bit.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgepose.export.rewrites._base import Rewrite, replace_modules
from edgepose.models.tokenpose import KeypointTokens

__all__ = ["TOKENS", "PaddedKeypointTokens"]


class PaddedKeypointTokens(nn.Module):
    """:class:`KeypointTokens` with its tables padded to all tokens."""

    start: Tensor
    position: Tensor

    def __init__(self, tokens: KeypointTokens) -> None:
        super().__init__()
        self.num_keypoints = tokens.num_keypoints
        self.embed = tokens.embed
        self.stacks = tokens.stacks
        position = tokens.position.detach()
        self.register_buffer("start", torch.cat([tokens.keypoints.detach(), position], dim=1))
        self.register_buffer("position", F.pad(position, [0, 0, self.num_keypoints, 0]))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to (B, K, d * stacks)."""
        patches = self.embed(x).flatten(2).transpose(1, 2)  # (B, T, d)
        tokens = F.pad(patches, [0, 0, self.num_keypoints, 0]) + self.start  # (B, K + T, d)
        found = []
        for stack in self.stacks:
            for index, layer in enumerate(cast(nn.ModuleList, stack)):
                tokens = layer(tokens if index == 0 else tokens + self.position)
            found.append(tokens[:, : self.num_keypoints])
        return torch.cat(found, dim=2)


def _apply(root: nn.Module) -> int:
    return replace_modules(root, KeypointTokens, PaddedKeypointTokens)


TOKENS = Rewrite("tokens", "keypoint tokens and positions added as padded constants", _apply)
