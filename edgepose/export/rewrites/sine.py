"""The sine table as one constant in the tokens' order, made before the graph is.

The model keeps it as a map, so that it can be resampled to another input size, and turns it into
tokens whenever it runs. All layers then add the same constant.

Considered and left out: (x + p) W + b = x W + (p W + b), which takes the sum out of every layer and
gives queries and keys a table each in place of their bias: hardly any time for two tables a layer.
"""

from __future__ import annotations

from torch import Tensor, nn

from edgepose.export.rewrites._base import Rewrite, replace_modules
from edgepose.models.transpose import MapEncoder

__all__ = ["SINE", "ConstantMapEncoder"]


class ConstantMapEncoder(nn.Module):
    """:class:`MapEncoder` with its table in the tokens' order."""

    position: Tensor

    def __init__(self, encoder: MapEncoder) -> None:
        super().__init__()
        self.layers = encoder.layers
        table = encoder.position.detach().flatten(2).transpose(1, 2)
        self.register_buffer("position", table.contiguous())  # (1, T, d)

    def forward(self, x: Tensor) -> Tensor:
        """(B, d, h, w) to the same shape."""
        tokens: Tensor = x.flatten(2).transpose(1, 2)  # (B, T, d)
        for layer in self.layers:
            tokens = layer(tokens, self.position)
        return tokens.transpose(1, 2).reshape(-1, *x.shape[1:])  # (B, d, h, w)


def _apply(root: nn.Module) -> int:
    return replace_modules(root, MapEncoder, ConstantMapEncoder)


SINE = Rewrite("sine", "sine table as one constant in the tokens' order", _apply)
