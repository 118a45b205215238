"""Max unpooling without indices: comparisons and choices instead.

Exported as it is, pooling that tells its places becomes a MaxPool with a second output and
unpooling a ScatterND; TensorRT's parser refuses the first. Here a window of four cells has its
winner in the row whose maximum is the larger, the upper one if they are equal, and in that row at
the larger cell, the left one if they are equal: three comparisons that take the first of equal
values, as PyTorch does. Unpooling is then a choice between the value and zero for each of the four
cells, and the four maps are interleaved. A choice and not a product: infinity and the sign of zero
stay what they are, and the result is the same to the bit. (onnxruntime's Where makes 0.0 of -0.0.)

Not for NaN. PyTorch takes it for the largest value; here every comparison with it is lost, so that
another cell of the window may win. Still exactly one does.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgepose.export.rewrites._base import Rewrite, replace_modules
from edgepose.models.refinepose import PoolWithPlaces, Unpool

__all__ = ["MAX_UNPOOL", "MaskPool", "MaskUnpool"]

# Whether a window's winner is its upper left, upper right, lower left, lower right cell: each a
# mask (B, C, h, w), exactly one of them set.
Masks = tuple[Tensor, Tensor, Tensor, Tensor]


class MaskPool(nn.Module):
    """:class:`PoolWithPlaces` whose places are four masks."""

    def forward(self, x: Tensor) -> tuple[Tensor, Masks]:
        """(B, C, 2h, 2w) to maxima (B, C, h, w) and masks of that shape."""
        return F.max_pool2d(x, 2), _winners(x)


class MaskUnpool(nn.Module):
    """:class:`Unpool` by four masks."""

    def __init__(self, copies: int) -> None:
        super().__init__()
        self.copies = copies

    def forward(self, x: Tensor, masks: Masks) -> Tensor:
        """Values (B, copies * C, h, w) and masks of C channels to (B, copies * C, 2h, 2w)."""
        upper_left, upper_right, lower_left, lower_right = (self._where(m, x) for m in masks)
        upper = torch.stack([upper_left, upper_right], dim=4).flatten(3)  # (B, copies * C, h, 2w)
        lower = torch.stack([lower_left, lower_right], dim=4).flatten(3)
        return torch.stack([upper, lower], dim=3).flatten(2, 3)

    def _where(self, mask: Tensor, x: Tensor) -> Tensor:
        if self.copies == 1:
            return torch.where(mask, x, 0.0)
        apart = torch.unflatten(x, 1, (self.copies, -1))  # (B, copies, C, h, w)
        return torch.where(mask[:, None], apart, 0.0).flatten(1, 2)


def _winners(x: Tensor) -> Masks:
    upper_left, upper_right = x[..., 0::2, 0::2], x[..., 0::2, 1::2]  # (B, C, h, w)
    lower_left, lower_right = x[..., 1::2, 0::2], x[..., 1::2, 1::2]
    upper = torch.maximum(upper_left, upper_right) >= torch.maximum(lower_left, lower_right)
    first_above, first_below = upper_left >= upper_right, lower_left >= lower_right
    return upper & first_above, upper & ~first_above, ~upper & first_below, ~upper & ~first_below


def _apply(root: nn.Module) -> int:
    pools = replace_modules(root, PoolWithPlaces, lambda _: MaskPool())
    return pools + replace_modules(root, Unpool, lambda unpool: MaskUnpool(unpool.copies))


MAX_UNPOOL = Rewrite("max-unpool", "unpooling by comparisons instead of indices", _apply)
