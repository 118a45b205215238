"""A model with its weights rounded otherwise: how far does rounding move the model itself?"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import nn

from edgepose.runtime.torch import TorchRunner
from edgepose.spec import PoseSpec

__all__ = ["nudged"]


def nudged(module: nn.Module, spec: PoseSpec, draws: int = 4) -> Iterator[TorchRunner]:
    """Runners of the model with other roundings of its weights, one after the other.

    Every weight goes one unit in its last place up or down, or stays, each in a third of the cases.
    Of two equally likely sides of a decision, all of four draws leave 1 in 16 on the side where it
    was; noise as large as the sway that they show elsewhere in the map then tips it.

    Args:
        module: Stays as it is.
        spec: Its spec.
        draws: How many.

    Yields:
        A runner that is closed when the next is asked for.
    """
    other = copy.deepcopy(module)
    random = torch.Generator().manual_seed(0)
    for _ in range(draws):
        with torch.no_grad():
            pairs = zip(other.parameters(), module.parameters(), strict=True)
            for weight, before in pairs:
                step = torch.randint(-1, 2, before.shape, generator=random, dtype=torch.int8)
                weight.copy_(torch.nextafter(before, before + step * before.abs()))
        with TorchRunner(other, spec) as runner:
            yield runner
