"""Kernel taps that no pixel ever meets.

At 32x32 the coarsest branch of an HRNet is a single cell: of each 3x3 kernel there, eight taps meet
nothing but padding. What they hold says nothing and changes nothing, but it takes the room of a
third of the net in every copy of the weights, since noise cannot be compressed. Zeros can.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["zero_unreached"]


def zero_unreached(module: nn.Module, input_size: tuple[int, int]) -> int:
    """Set to zero, in place, all weights of convolutions that only padding is multiplied with.

    Args:
        module: forward((B, 3, H, W)); its outputs at this size stay the same, to the bit.
        input_size: (H, W) in pixels. At a larger one the zeros would take part.

    Returns:
        How many weights that were not zero are now.
    """
    met: dict[nn.Conv2d, Tensor] = {}

    def note(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if isinstance(layer, nn.Conv2d):
            taps = _reached(layer, inputs[0].shape[-2:])  # (kh, kw)
            # A layer that is used twice is reached where either use reaches it.
            met[layer] = taps if layer not in met else met[layer] | taps

    convolutions = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    hooks = [layer.register_forward_pre_hook(note) for layer in convolutions]
    training = module.training
    try:
        with torch.no_grad():
            module.eval()(torch.zeros(1, 3, *input_size))
    finally:
        module.train(training)
        for hook in hooks:
            hook.remove()
    count = 0
    with torch.no_grad():
        for layer, taps in met.items():
            count += int((layer.weight != 0)[..., ~taps].sum())
            layer.weight[..., ~taps] = 0
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
