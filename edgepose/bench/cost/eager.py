"""Counting a PyTorch model, module by module, without computing anything."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from edgepose.bench.cost.convention import TORCH_PEAK
from edgepose.bench.cost.figures import Cost, Layer
from edgepose.models.cost import cost_of
from edgepose.models.registry import build, parse_name

__all__ = ["Held", "count_torch"]

_DEEPEST = 99
_OWN = "(own)"


def count_torch(name: str) -> Cost:
    """See :func:`edgepose.bench.cost.torch_cost`."""
    base, (height, width) = parse_name(name)
    cost = cost_of(name, depth=_DEEPEST)
    model, shapes, peak = _watch(name, (height, width))
    kinds = {path: type(module).__name__ for path, module in model.named_modules()}
    layers = []
    for part in cost.parts:
        path = part.name.removesuffix(_OWN).removesuffix(".")
        path = path if path in kinds else ""  # a model that is one layer goes by its class
        layers.append(
            Layer(
                name=part.name,
                op=part.kind,
                shape=shapes.get(path),
                macs=round(part.gmacs * 1e9),
                params=part.params,
                path=path,
                kind=part.kind,
            )
        )
    return Cost(
        counted_on="torch",
        layers=tuple(layers),
        activation_peak_bytes=peak,
        peak_means=TORCH_PEAK,
        model=f"{base}@{height}x{width}",
        keypoints=17,
        kinds=kinds,
    )


def _watch(name: str, size: tuple[int, int]) -> tuple[nn.Module, dict[str, tuple[int, ...]], int]:
    """The model, the shape that every module gives, and the most that its tensors hold at once."""
    shapes: dict[str, tuple[int, ...]] = {}

    def note(path: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            first = next((v for v in tree_leaves(output) if isinstance(v, Tensor)), None)
            if first is not None:
                shapes[path] = tuple(first.shape)

        return hook

    with torch.device("meta"):
        model = build(name).eval()
        for path, module in model.named_modules():
            module.register_forward_hook(note(path))
        images = torch.empty(1, 3, *size)
        held = Held(images, model)
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), held:
            model(images)
    return model, shapes, held.peak


class Held(TorchDispatchMode):
    """Follows the memory of tensors from the operator that makes them until it is freed.

    Args:
        images: What is fed, held from the beginning.
        model: Its weights are left out, and views of them.
    """

    def __init__(self, images: Tensor, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        weights = (*model.parameters(), *model.buffers())
        self._sizes = {weight.untyped_storage()._cdata: 0 for weight in weights}
        self._total = 0
        self.peak = 0
        self._follow(images)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        for value in tree_leaves(made):
            if isinstance(value, Tensor):
                self._follow(value)
        return made

    def _follow(self, value: Tensor) -> None:
        storage = value.untyped_storage()
        key = storage._cdata
        if key in self._sizes:
            return  # a view, or written in place
        self._sizes[key] = storage.nbytes()
        self._total += storage.nbytes()
        self.peak = max(self.peak, self._total)
        weakref.finalize(storage, self._free, key)

    def _free(self, key: int) -> None:
        self._total -= self._sizes.pop(key)
