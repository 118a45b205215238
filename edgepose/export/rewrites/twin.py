"""Twin attention as plain matrix products over columns, then rows: no Einsum, no regrouping.

With the map as (B, W, H, d) the products of column attention are batched over its first two axes as
they stand, and with (B, H, W, d) those of row attention. So each layer swaps these axes once, sums
and norms where it is, and adds the depthwise convolutions to the map they read, in their own
layout: three transposes a layer. (An Einsum transposes and reshapes inside, and runtimes fuse
nothing with it.)

softmax(c q k) with q = W x is softmax(q' k) with q' = (c W) x: the scale goes into q's weights.
Keys and values are computed apart, which spares the copies that take their joint result apart.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from edgepose.export.rewrites._base import Rewrite, replace_modules
from edgepose.models.vttranspose import AxisAttention, TwinEncoder, TwinLayer

__all__ = ["TWIN", "LineAttention", "PlainTwinEncoder"]


class LineAttention(nn.Module):
    """:class:`AxisAttention` among the cells of the last axis but one, whichever that is."""

    def __init__(self, attention: AxisAttention) -> None:
        super().__init__()
        self.heads = attention.heads
        key, value = attention.kv.weight.detach().chunk(2)
        self.q = _linear(attention.q.weight.detach() * attention.scale)
        self.k = _linear(key)
        self.v = _linear(value)
        self.project = attention.project

    def forward(self, x: Tensor) -> Tensor:
        """(B, lines, T, d) to the same shape."""
        q, k, v = self.q(x), self.k(x), self.v(x)
        if self.heads == 1:
            mixed = (q @ k.transpose(-2, -1)).softmax(dim=-1) @ v  # (B, lines, T, d)
        else:
            q, k, v = (part.unflatten(-1, (self.heads, -1)) for part in (q, k, v))
            shares = (q.transpose(2, 3) @ k.permute(0, 1, 3, 4, 2)).softmax(dim=-1)
            mixed = shares @ v.transpose(2, 3)  # (B, lines, h, T, d/h)
            mixed = mixed.transpose(2, 3).flatten(-2)  # (B, lines, T, d)
        projected: Tensor = self.project(mixed)
        return projected


class PlainTwinLayer(nn.Module):
    """:class:`TwinLayer` from columns to columns.

    Args:
        layer: The layer, in evaluation mode.
        column_table: The encoder's table (1, d, h, 1).
        row_table: The encoder's table (1, d, 1, w).
    """

    column_table: Tensor
    row_table: Tensor

    def __init__(self, layer: TwinLayer, column_table: Tensor, row_table: Tensor) -> None:
        super().__init__()
        self.register_buffer("column_table", column_table.permute(0, 3, 2, 1).contiguous())
        self.register_buffer("row_table", row_table.permute(0, 2, 3, 1).contiguous())
        self.column = LineAttention(layer.column)
        self.column_norm = layer.column_norm
        self.row = LineAttention(layer.row)
        self.row_norm = layer.row_norm
        self.convs = layer.convs
        self.convs_norm = layer.convs_norm

    def forward(self, x: Tensor) -> Tensor:
        """(B, W, H, d) to the same shape."""
        x = self.column_norm(x + self.column(x + self.column_table))
        x = x.transpose(1, 2)  # (B, H, W, d)
        x = self.row_norm(x + self.row(x + self.row_table))
        x = x.permute(0, 3, 1, 2)  # (B, d, H, W)
        x = x + self.convs(x)
        refined: Tensor = self.convs_norm(x.permute(0, 3, 2, 1))
        return refined


class PlainTwinEncoder(nn.Module):
    """:class:`TwinEncoder` of plain layers."""

    def __init__(self, encoder: TwinEncoder) -> None:
        super().__init__()
        tables = encoder.column_table.detach(), encoder.row_table.detach()
        self.layers = nn.Sequential(
            *(PlainTwinLayer(cast(TwinLayer, layer), *tables) for layer in encoder.layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, d, h, w) to the same shape."""
        columns: Tensor = self.layers(x.permute(0, 3, 2, 1))  # (B, w, h, d)
        return columns.permute(0, 3, 2, 1)


def _linear(weight: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False).to(weight.dtype)
    layer.load_state_dict({"weight": weight})
    return layer.eval()


def _apply(root: nn.Module) -> int:
    return replace_modules(root, TwinEncoder, PlainTwinEncoder)


TWIN = Rewrite(
    "twin",
    "twin attention as products over columns and rows as they lie, scale folded into q",
    _apply,
)
