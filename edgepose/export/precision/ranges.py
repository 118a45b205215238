"""How large the numbers of a graph become, on real people.

Weights do not tell it: an activation may overflow FP16 in a graph whose weights are all below one.
So the graph is run on crops, slice by slice, and the smallest and largest value of every activation
is noted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from edgepose.errors import GraphError, InputError
from edgepose.export.lint.view import places
from edgepose.export.precision.session import Slices

__all__ = ["Range", "float_activations", "tensor_ranges"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Range:
    """The values that were seen in a tensor; infinite where it overflowed FP32.

    Attributes:
        low: The smallest.
        high: The largest.
    """

    low: float
    high: float

    @property
    def reach(self) -> float:
        """The largest absolute value."""
        return max(abs(self.low), abs(self.high))

    def __or__(self, other: Range) -> Range:
        """Both together."""
        return Range(min(self.low, other.low), max(self.high, other.high))


def float_activations(model: onnx.ModelProto) -> list[str]:
    """FP32 values that a graph computes, in its order, after its FP32 inputs.

    Raises:
        GraphError: The types of its values cannot be inferred: it is no valid ONNX.
    """
    nodes = places(model)
    types = nodes[0].values.types if nodes else {}
    weights = {weight.name for weight in model.graph.initializer}
    names = [value.name for value in model.graph.input if value.name not in weights]
    names += [n for node in model.graph.node if node.op_type != "Constant" for n in node.output]
    return [name for name in names if types.get(name) == "FP32"]


def tensor_ranges(model: onnx.ModelProto, batches: Iterable[Array]) -> dict[str, Range]:
    """Smallest and largest value of every FP32 activation, the inputs included.

    Args:
        model: The graph, of one input; it stays as it is.
        batches: What its input takes; at least one batch, read one at a time.

    Returns:
        Ranges by tensor, in the order of the graph.

    Raises:
        InputError: There is no batch.
        GraphError: onnxruntime cannot run the graph, or a tensor holds NaN.
    """
    names = float_activations(model)
    slices = Slices(model, names)
    ranges: dict[str, Range] = {}
    for batch in batches:
        for tensors in slices.run(batch):
            for name, values in tensors.items():
                seen = _range(name, values)
                ranges[name] = ranges[name] | seen if name in ranges else seen
    if not ranges:
        raise InputError("there is nothing to take ranges from", "no batch was given")
    return {name: ranges[name] for name in names}


def _range(name: str, values: Array) -> Range:
    if not values.size:
        return Range(0.0, 0.0)
    low, high = float(np.min(values)), float(np.max(values))
    if math.isnan(low) or math.isnan(high):
        raise GraphError(
            f"the tensor '{name}' holds NaN",
            "the graph computes no numbers on these crops",
            "look at the weights: no conversion can mend them",
        )
    return Range(low, high)
