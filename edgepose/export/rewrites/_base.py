"""What a rewrite is, and the two helpers that all of them use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor, nn

__all__ = ["Rewrite", "norm_affine", "pointwise", "replace_modules"]

Kind = TypeVar("Kind", bound=nn.Module)


@dataclass(frozen=True)
class Rewrite:
    """A change of a module that leaves what it computes as it was, to rounding.

    Attributes:
        name: Short name, for logs and for choosing.
        effect: What it does, in one line.
        apply: Changes a module in evaluation mode in place; returns in how many places.
    """

    name: str
    effect: str
    apply: Callable[[nn.Module], int]


def replace_modules(root: nn.Module, kind: type[Kind], make: Callable[[Kind], nn.Module]) -> int:
    """Put ``make(child)`` in the place of every descendant of exactly that class.

    Returns:
        How many were replaced.
    """
    places = [
        (parent, name, child)
        for parent in root.modules()
        for name, child in parent.named_children()
        if type(child) is kind
    ]
    for parent, name, child in places:
        setattr(parent, name, make(child))
    return len(places)


def norm_affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Scale s and shift t of a BatchNorm in evaluation mode, s * x + t per channel, in FP64."""
    if norm.running_mean is None or norm.running_var is None:
        raise AssertionError("a norm without running statistics cannot be folded")
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    return scale, norm.bias.double() - norm.running_mean.double() * scale


def pointwise(weight: Tensor, bias: Tensor) -> nn.Conv2d:
    """A 1x1 convolution of that weight (Cout, Cin, 1, 1) and bias (Cout,)."""
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], 1).to(weight.dtype)
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer.eval()
