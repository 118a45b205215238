"""Which arithmetic the hardware is good at."""

from __future__ import annotations

import contextlib

import torch

__all__ = ["autocast", "bf16_supported", "use_bf16"]


def bf16_supported(device: torch.device) -> bool:
    """Whether matrix products in bfloat16 run in hardware there."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        # The tile unit (AMX) brings bfloat16 with it; torch has no public query for either.
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def use_bf16(setting: str, device: torch.device) -> bool:
    """``auto`` -> what the hardware has; ``on`` and ``off`` as they say."""
    return bf16_supported(device) if setting == "auto" else setting == "on"


def autocast(device: torch.device, bf16: bool) -> contextlib.AbstractContextManager[None]:
    """Context in which a forward pass runs in bfloat16, or plainly."""
    if not bf16:
        return contextlib.nullcontext()
    context: contextlib.AbstractContextManager[None] = torch.autocast(device.type, torch.bfloat16)
    return context
