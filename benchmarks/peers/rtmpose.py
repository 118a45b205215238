"""A guest of RTMPose-t's size: its architecture as published, built here, with random weights.

No weights of other projects are downloaded for a measurement of time. The layers follow the public
description of RTMPose-t (Jiang et al., arXiv:2303.07399; CSPNeXt: Lyu et al., arXiv:2212.07784):
a CSPNeXt backbone of width 0.375 and depth 0.167, and a SimCC head with one gated attention unit.
3.3 M parameters and 0.36 GMACs at 256x192, as published.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["RTMPoseTiny"]

# Channels of the stem and of the four stages, each of which halves the resolution.
STEM, STAGES = 24, (48, 96, 192, 384)
TOKEN, HIDDEN, SHARED = 256, 512, 128


def conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Module:
    """Convolution, BatchNorm, SiLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.SiLU(),
    )


class Block(nn.Module):
    """A 3x3 convolution and a depth-wise separable 5x5 one."""

    def __init__(self, channels: int, shortcut: bool) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            conv(channels, channels, 3),
            conv(channels, channels, 5, groups=channels),
            conv(channels, channels),
        )
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        return self.convs(x) + x if self.shortcut else self.convs(x)


class Stage(nn.Module):
    """Cross-stage partial: half of the channels go through the block, then channel attention."""

    def __init__(self, channels: int, shortcut: bool) -> None:
        super().__init__()
        half = channels // 2
        self.main = nn.Sequential(conv(channels, half), Block(half, shortcut))
        self.short = conv(channels, half)
        self.attention = nn.Conv2d(channels, channels, 1)
        self.last = conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        x = torch.cat([self.main(x), self.short(x)], 1)
        return self.last(x * F.hardsigmoid(self.attention(x.mean((2, 3), keepdim=True))))


class PoolingPyramid(nn.Module):
    """What lies around, at three sizes of window."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv(channels, channels // 2)
        self.last = conv(channels * 2, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        x = self.first(x)
        pooled = [F.max_pool2d(x, size, 1, size // 2) for size in (5, 9, 13)]
        return self.last(torch.cat([x, *pooled], 1))


class ScaleNorm(nn.Module):
    """Division by the root mean square over the last axis, times one learnt factor."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to the same shape."""
        return x / x.pow(2).mean(-1, keepdim=True).sqrt().clamp_min(1e-5) * self.gain


class GatedAttention(nn.Module):
    """Gated attention unit over the keypoints."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = ScaleNorm()
        self.inwards = nn.Linear(TOKEN, 2 * HIDDEN + SHARED, bias=False)
        self.gain = nn.Parameter(torch.rand(2, SHARED))
        self.shift = nn.Parameter(torch.rand(2, SHARED))
        self.outwards = nn.Linear(HIDDEN, TOKEN, bias=False)
        self.residual = nn.Parameter(torch.ones(TOKEN))

    def forward(self, x: Tensor) -> Tensor:
        """(B, K, token) to the same shape."""
        gate, value, base = F.silu(self.inwards(self.norm(x))).split((HIDDEN, HIDDEN, SHARED), -1)
        query, key = (base[:, :, None] * self.gain + self.shift).unbind(2)  # (B, K, shared)
        kernel = F.relu(query @ key.transpose(1, 2) / SHARED**0.5).square()  # (B, K, K)
        return x * self.residual + self.outwards(gate * (kernel @ value))


class RTMPoseTiny(nn.Module):
    """RTMPose-t.

    Args:
        input_size: (height, width), multiples of 32.
        num_keypoints: K.
        split_ratio: Bins per pixel.
    """

    def __init__(
        self,
        input_size: tuple[int, int] = (256, 192),
        num_keypoints: int = 17,
        split_ratio: float = 2.0,
    ) -> None:
        super().__init__()
        height, width = input_size
        layers: list[nn.Module] = [
            conv(3, STEM // 2, 3, 2),
            conv(STEM // 2, STEM // 2, 3),
            conv(STEM // 2, STEM, 3),
        ]
        for inputs, outputs in zip((STEM, *STAGES[:-1]), STAGES, strict=True):
            last = outputs == STAGES[-1]
            layers.append(conv(inputs, outputs, 3, 2))
            if last:
                layers.append(PoolingPyramid(outputs))
            layers.append(Stage(outputs, shortcut=not last))
        self.backbone = nn.Sequential(*layers)
        self.maps = nn.Conv2d(STAGES[-1], num_keypoints, 7, padding=3)
        cells = (height // 32) * (width // 32)
        self.tokens = nn.Sequential(ScaleNorm(), nn.Linear(cells, TOKEN, bias=False))
        self.attention = GatedAttention()
        self.x = nn.Linear(TOKEN, round(width * split_ratio), bias=False)
        self.y = nn.Linear(TOKEN, round(height * split_ratio), bias=False)
        # PyTorch's own start lets the picture fade from layer to layer, until only biases speak.
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) to logits (B, K, W * split) and (B, K, H * split)."""
        maps = self.maps(self.backbone(images))  # (B, K, H/32, W/32)
        tokens = self.attention(self.tokens(maps.flatten(2)))  # (B, K, token)
        return {"simcc_x": self.x(tokens), "simcc_y": self.y(tokens)}
