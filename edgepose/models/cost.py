"""What a model costs, part by part: parameters and multiply-adds, counted without computing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from edgepose.models.registry import build, parse_name

__all__ = ["Cost", "Part", "cost_of"]


@dataclass(frozen=True)
class Part:
    """A piece of a model.

    Attributes:
        name: Dotted path from the model; ``(own)`` at its end is what a piece does by itself,
            beside the pieces it consists of.
        kind: Class.
        params: Parameters, frozen ones included.
        gmacs: 10^9 multiply-adds of convolutions, linear layers and matrix products, per image.
    """

    name: str
    kind: str
    params: int
    gmacs: float


@dataclass(frozen=True)
class Cost:
    """A model's cost at one input size; the parts add up to the totals.

    Attributes:
        input_size: (height, width).
        params: All parameters, frozen ones included.
        trainable: Those that training changes.
        gmacs: 10^9 multiply-adds per image.
        parts: In the order of the definition.
    """

    input_size: tuple[int, int]
    params: int
    trainable: int
    gmacs: float
    parts: tuple[Part, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def cost_of(name: str, depth: int = 2) -> Cost:
    """Count a registry model.

    Args:
        name: ``model`` or ``model@HxW``.
        depth: How far its parts are taken apart.

    Raises:
        InputError: The model is unknown, or cannot take that size.
    """
    _, size = parse_name(name)
    with torch.device("meta"):
        model = build(name).eval()
        counter = FlopCounterMode(display=False)
        # The fused kernels are no matrix products to the counter.
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
            model(torch.empty(1, 3, *size))
    # Keys are dotted paths that begin with the class of the model.
    root = type(model).__name__
    called = {
        path.removeprefix(root).removeprefix("."): sum(counts.values()) / 2
        for path, counts in counter.get_flop_counts().items()
        if path == root or path.startswith(f"{root}.")
    }
    macs: dict[str, float] = {}
    _fill(model, "", called, macs)
    return Cost(
        input_size=size,
        params=_params(model),
        trainable=sum(p.numel() for p in model.parameters() if p.requires_grad),
        gmacs=macs[""] / 1e9,
        parts=tuple(p for p in _parts(model, "", depth, macs) if p.params or p.gmacs),
    )


def _fill(
    module: nn.Module, path: str, called: Mapping[str, float], macs: dict[str, float]
) -> float:
    """Multiply-adds of a module and all below it; a bare list of modules is never called itself."""
    inside = sum(_fill(c, _join(path, name), called, macs) for name, c in module.named_children())
    macs[path] = called.get(path, inside)
    return macs[path]


def _parts(module: nn.Module, path: str, depth: int, macs: Mapping[str, float]) -> Iterator[Part]:
    children = dict(module.named_children())
    kind = type(module).__name__
    if not children or depth == 0:
        yield Part(path or kind, kind, _params(module), macs[path] / 1e9)
        return
    own = sum(p.numel() for p in module.parameters(recurse=False))
    inside = sum(macs[_join(path, name)] for name in children)
    yield Part(_join(path, "(own)"), kind, own, (macs[path] - inside) / 1e9)
    for name, child in children.items():
        yield from _parts(child, _join(path, name), depth - 1, macs)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _params(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
