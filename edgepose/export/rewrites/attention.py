"""Attention with its scale folded into the queries' weights, and q, k, v computed apart.

softmax((c q) k) with q = W x + b is softmax(q' k) with q' = (c W) x + c b. Three layers instead of
one spare the Slices that take their joint result apart: each of them is a copy. Written out as
MatMul and Softmax, so that no exporter decides what attention becomes. Where there is one head
only, nothing is left to split: the products take the tokens as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgepose.export.rewrites._base import Rewrite, pointwise, replace_modules
from edgepose.models.encoder import Attention, TokenAttention
from edgepose.models.mitpose import MapAttention

__all__ = ["ATTENTION", "PlainMapAttention", "PlainTokenAttention"]


class PlainMapAttention(nn.Module):
    """:class:`MapAttention` without a scale."""

    def __init__(self, attention: MapAttention) -> None:
        super().__init__()
        self.heads = attention.heads
        parts = _parts(attention.qkv, attention.heads)
        self.q, self.k, self.v = (pointwise(weight, bias) for weight, bias in parts)
        self.project = attention.project

    def forward(self, x: Tensor) -> Tensor:
        """(B, d, H, W) to the same shape."""
        q, k, v = (
            layer(x).flatten(2).unflatten(1, (self.heads, -1)) for layer in (self.q, self.k, self.v)
        )  # (B, h, d/h, T)
        shares = (q.transpose(2, 3) @ k).softmax(dim=-1)  # (B, h, T, T)
        mixed = v @ shares.transpose(2, 3)  # (B, h, d/h, T)
        projected: Tensor = self.project(mixed.flatten(1, 2).unflatten(2, x.shape[2:]))
        return projected


class PlainTokenAttention(nn.Module):
    """:class:`Attention` or :class:`TokenAttention` without a scale.

    Args:
        q: Layer of the queries, the scale in its weights.
        k: Layer of the keys.
        v: Layer of the values.
        project: Layer behind the heads.
        heads: Heads h.
    """

    def __init__(
        self, q: nn.Linear, k: nn.Linear, v: nn.Linear, project: nn.Linear, heads: int
    ) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = q, k, v
        self.project = project

    def forward(self, x: Tensor, position: Tensor | None = None) -> Tensor:
        """(B, T, d) to the same shape; ``position`` (1, T, d) is seen by queries and keys only."""
        located = x if position is None else x + position
        q, k, v = self.q(located), self.k(located), self.v(x)  # (B, T, d)
        if self.heads == 1:
            mixed = (q @ k.transpose(1, 2)).softmax(dim=-1) @ v  # (B, T, d)
        else:
            q, k, v = (part.unflatten(2, (self.heads, -1)) for part in (q, k, v))
            shares = (q.transpose(1, 2) @ k.permute(0, 2, 3, 1)).softmax(dim=-1)  # (B, h, T, T)
            mixed = (shares @ v.transpose(1, 2)).transpose(1, 2).flatten(2)  # (B, T, d)
        projected: Tensor = self.project(mixed)
        return projected


@torch.no_grad()
def _scaled(layer: nn.Linear, scale: float) -> nn.Linear:
    """The layer with its results multiplied by ``scale``."""
    scaled = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
    scaled = scaled.to(layer.weight.dtype)
    scaled.load_state_dict({name: value * scale for name, value in layer.state_dict().items()})
    return scaled.eval()


@torch.no_grad()
def _parts(qkv: nn.Conv2d | nn.Linear, heads: int) -> list[tuple[Tensor, Tensor]]:
    """Weights and biases of q, k and v; q's times 1/sqrt(d/h)."""
    if qkv.bias is None:
        raise AssertionError("the joint layer has a bias")
    scale = (len(qkv.weight) // 3 // heads) ** -0.5
    pairs = zip(qkv.weight.chunk(3), qkv.bias.chunk(3), strict=True)
    (weight, bias), *others = pairs
    return [(weight * scale, bias * scale), *others]


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0]).to(weight.dtype)
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer.eval()


def _plain(attention: Attention) -> PlainTokenAttention:
    q = _scaled(attention.q, attention.scale)
    return PlainTokenAttention(q, attention.k, attention.v, attention.project, attention.heads)


def _plain_from_joint(attention: TokenAttention) -> PlainTokenAttention:
    parts = _parts(attention.qkv, attention.heads)
    q, k, v = (_linear(weight, bias) for weight, bias in parts)
    return PlainTokenAttention(q, k, v, attention.project, attention.heads)


def _apply(root: nn.Module) -> int:
    return (
        replace_modules(root, MapAttention, PlainMapAttention)
        + replace_modules(root, TokenAttention, _plain_from_joint)
        + replace_modules(root, Attention, _plain)
    )


ATTENTION = Rewrite("attention", "attention scale folded into q; q, k and v apart", _apply)
