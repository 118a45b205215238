"""The two-dimensional sine position table that TransPose and TokenPose share."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["sine_table"]

TEMPERATURE = 10_000
EPSILON = 1e-6


def sine_table(channels: int, height: int, width: int) -> Tensor:
    """Positions of a grid's cells as sines and cosines (TransPose, section 3.2, after DETR).

    Rows count 1..height and are scaled so that the last is 2 pi; columns likewise. Channel c of a
    half is the sine (c even) or cosine (c odd) of that angle over 10000^(2 floor(c / 2) / half).
    The first half of the channels tells the row, the second the column.

    Args:
        channels: Even number of channels d.
        height: Rows of the grid.
        width: Its columns.

    Returns:
        FP32 table (1, d, height, width). ``flatten(2).transpose(1, 2)`` are the tokens' rows, the
        grid read row by row.
    """
    if channels % 2:
        raise AssertionError(f"a sine table has an even number of channels, not {channels}")
    half = channels // 2
    rows = _waves(half, height)[:, :, None].expand(half, height, width)
    columns = _waves(half, width)[:, None, :].expand(half, height, width)
    return torch.cat([rows, columns])[None].float()


def _waves(channels: int, length: int) -> Tensor:
    """(channels, length): what each channel says of the positions along one axis, in FP64."""
    place = torch.arange(1, length + 1, dtype=torch.float64)
    angle = place / (length + EPSILON) * (2 * math.pi)
    channel = torch.arange(channels)
    divisor = TEMPERATURE ** (2 * (channel // 2).double() / channels)
    phase = angle / divisor[:, None]  # (channels, length)
    return torch.where(channel[:, None] % 2 == 0, phase.sin(), phase.cos())
