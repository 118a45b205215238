"""Kernel taps that no pixel ever meets.

At 32x32 the coarsest branch of an HRNet is a single cell: of each 3x3 kernel there, eight taps meet
nothing but padding. What they hold says nothing and changes nothing, but noise cannot be
compressed: it takes the room of nearly half the net in every download and clone. Zeros take none.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["zero_unreached"]


def zero_unreached(module: nn.Module, input_size: tuple[int, int]) -> int:
    """Set to zero, in place, all weights of convolutions that only padding is multiplied with.

    Args:
        module: forward((B, 3, H, W)), on the CPU; its outputs at this size stay the same, but for
            rounding. Convolution kernels are used by its Conv2d layers alone.
        input_size: (H, W) in pixels. At a larger one the zeros would take part.

    Returns:
        How many weights that were not zero are now.
    """
    met: dict[nn.Parameter, Tensor] = {}

    def note(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        weight = layer.weight
        # What is computed from other parameters (weight norm) cannot be set, and stays.
        if isinstance(layer, nn.Conv2d) and isinstance(weight, nn.Parameter):
            taps = _reached(layer, inputs[0].shape[-2:])  # (kh, kw)
            # A kernel that is used twice is reached where either use reaches it.
            met[weight] = met.get(weight, torch.zeros_like(taps)) | taps

    convolutions = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    hooks = [layer.register_forward_pre_hook(note) for layer in convolutions]
    training = {part: part.training for part in module.modules()}
    try:
        with torch.no_grad():
            module.eval()(torch.zeros(1, 3, *input_size))
    finally:
        for part, mode in training.items():
            part.training = mode
        for hook in hooks:
            hook.remove()
    count = 0
    with torch.no_grad():
        for weight, taps in met.items():
            count += int((weight[..., ~taps] != 0).sum())
            weight[..., ~taps] = 0
    return count


def _reached(layer: nn.Conv2d, size: torch.Size) -> Tensor:
    """(kh, kw): which taps meet a pixel of an input of that size at some place."""
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        return torch.ones(layer.kernel_size, dtype=torch.bool)
    axes = [
        _along(extent, *settings)
        for extent, *settings in zip(
            size, layer.kernel_size, layer.stride, layer.padding, layer.dilation, strict=True
        )
    ]
    return axes[0][:, None] & axes[1][None]


def _along(extent: int, kernel: int, stride: int, padding: int, dilation: int) -> Tensor:
    places = (extent + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    # (kernel, places): the pixel that a tap meets at each place.
    pixel = torch.arange(kernel)[:, None] * dilation + torch.arange(places) * stride - padding
    return ((pixel >= 0) & (pixel < extent)).any(1)
