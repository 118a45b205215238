"""Transformer layers over tokens (B, T, d), in the forms that the models use."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["MLP", "Attention", "LayerScale", "PostNormLayer", "PreNormLayer", "TokenAttention"]


class Attention(nn.Module):
    """Multi-head softmax attention (Vaswani et al., NeurIPS 2017, section 3.2).

    Written out as matrix products and a softmax, so that no exporter decides what it becomes.

    Args:
        channels: d, a multiple of ``heads``.
        heads: Heads h; the scores are scaled by (d / h)^-0.5.
        bias: Whether queries, keys and values have one. The output layer always has.
        dropout: Share of the attention weights dropped in training.
    """

    def __init__(self, channels: int, heads: int, *, bias: bool, dropout: float = 0.0) -> None:
        super().__init__()
        if channels % heads:
            raise AssertionError(f"{channels} channels do not split into {heads} heads")
        self.heads = heads
        self.scale = (channels // heads) ** -0.5
        self.q = nn.Linear(channels, channels, bias=bias)
        self.k = nn.Linear(channels, channels, bias=bias)
        self.v = nn.Linear(channels, channels, bias=bias)
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Linear(channels, channels)

    def forward(self, x: Tensor, position: Tensor | None = None) -> Tensor:
        """(B, T, d) to the same shape; ``position`` (1, T, d) is seen by queries and keys only."""
        located = x if position is None else x + position
        q = self.q(located).unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, h, T, d/h)
        k = self.k(located).unflatten(2, (self.heads, -1)).permute(0, 2, 3, 1)  # (B, h, d/h, T)
        v = self.v(x).unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, h, T, d/h)
        shares = self.dropout(((q * self.scale) @ k).softmax(dim=-1))  # (B, h, T, T)
        projected: Tensor = self.project((shares @ v).transpose(1, 2).flatten(2))  # (B, T, d)
        return projected


class TokenAttention(nn.Module):
    """Multi-head self-attention whose queries, keys and values come from one layer (ViT, MiTPOSE).

    Args:
        channels: d, a multiple of ``heads``.
        heads: Heads h.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.project = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d) to the same shape."""
        qkv = self.qkv(x).unflatten(2, (3, self.heads, -1))  # (B, T, 3, h, d/h)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # (B, h, T, d/h)
        mixed = F.scaled_dot_product_attention(q, k, v)
        projected: Tensor = self.project(mixed.transpose(1, 2).flatten(2))  # (B, T, d)
        return projected


class MLP(nn.Module):
    """Two linear layers with an activation between them."""

    def __init__(
        self, channels: int, hidden: int, activation: nn.Module, *, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.expand = nn.Linear(channels, hidden)
        self.activation = activation
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d) to the same shape."""
        projected: Tensor = self.project(self.dropout(self.activation(self.expand(x))))
        return projected


class LayerScale(nn.Module):
    """A learned gain per channel on a residual branch (CaiT, Touvron et al., ICCV 2021, eq. 4)."""

    def __init__(self, channels: int, start: float) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.full((channels,), start))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d) to the same shape."""
        return x * self.gain


class PostNormLayer(nn.Module):
    """Attention and MLP, each added to its input and then normed (TransPose, after DETR).

    Args:
        channels: d.
        heads: Attention heads.
        hidden: Width of the MLP, whose activation is ReLU.
        dropout: On attention weights, in the MLP and on both branches.
    """

    def __init__(self, channels: int, heads: int, hidden: int, *, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(channels, heads, bias=True, dropout=dropout)
        self.norm_attention = nn.LayerNorm(channels)
        self.mlp = MLP(channels, hidden, nn.ReLU(), dropout=dropout)
        self.norm_mlp = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        """(B, T, d) to the same shape; ``position`` (1, T, d) as in :class:`Attention`."""
        x = self.norm_attention(x + self.dropout(self.attention(x, position)))
        normed: Tensor = self.norm_mlp(x + self.dropout(self.mlp(x)))
        return normed


class PreNormLayer(nn.Module):
    """Attention and MLP, each on its normed input and added to it (TokenPose).

    Queries, keys and values have no bias, as in TokenPose.

    Args:
        channels: d.
        heads: Attention heads.
        hidden: Width of the MLP, whose activation is GELU.
        gain: Where the two :class:`LayerScale` start; None for none.
    """

    def __init__(
        self, channels: int, heads: int, hidden: int, *, gain: float | None = None
    ) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(channels)
        self.attention = Attention(channels, heads, bias=False)
        self.gain_attention = _layer_scale(channels, gain)
        self.norm_mlp = nn.LayerNorm(channels)
        self.mlp = MLP(channels, hidden, nn.GELU())
        self.gain_mlp = _layer_scale(channels, gain)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d) to the same shape."""
        x = x + self.gain_attention(self.attention(self.norm_attention(x)))
        mixed: Tensor = x + self.gain_mlp(self.mlp(self.norm_mlp(x)))
        return mixed


def _layer_scale(channels: int, gain: float | None) -> nn.Module:
    return nn.Identity() if gain is None else LayerScale(channels, gain)
