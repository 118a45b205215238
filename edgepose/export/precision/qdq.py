"""Q/DQ pairs in a graph, and weights in INT8.

Every reader has a DQ of its own behind one common Q, so that a runtime that fuses a DQ into its
reader, as all of them do, finds no other reader at it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from edgepose.export.precision.plan import Site, Skip
from edgepose.export.precision.rebuilt import rebuilt
from edgepose.export.precision.session import read_weight

__all__ = ["Encoding", "quantise_weight", "with_pairs"]

# Of a weight, from zero on; -128 is not used, as TensorRT has it.
_LEVELS = 127
# Channels that are dead after a norm was folded have weights near zero. A scale of such size would
# be lost in FP16, where it has to be representable if the rest of the graph is.
_LEAST_SCALE = 2.0**-17


@dataclass(frozen=True)
class Encoding:
    """How an activation is written in eight bits: (number - zero) x scale.

    Attributes:
        scale: Size of a step.
        zero: The number for zero, in the type of the numbers.
    """

    scale: float
    zero: np.int8 | np.uint8


def quantise_weight(
    values: npt.NDArray[np.float32], axis: int
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """INT8 numbers and a scale for each channel; number x scale is nearest to the weight.

    Args:
        values: The weights.
        axis: Of the output channels, C of them.

    Returns:
        The numbers, in -127..127 and of the weights' shape, and (C,) scales.
    """
    others = tuple(a for a in range(values.ndim) if a != axis)
    scales = np.maximum(np.abs(values).max(others) / _LEVELS, _LEAST_SCALE).astype(np.float32)
    shape = [-1 if a == axis else 1 for a in range(values.ndim)]
    return np.rint(values / scales.reshape(shape)).astype(np.int8), scales


def with_pairs(
    model: onnx.ModelProto,
    sites: Iterable[Site],
    skips: Iterable[Skip],
    encodings: Mapping[str, Encoding],
    stored: Collection[str],
) -> onnx.ModelProto:
    """A quantised copy of a graph.

    Args:
        model: FP32 graph; it stays as it is.
        sites: Operations that read INT8.
        skips: Additions that read their skip in INT8.
        encodings: Of every activation that those read, and of ``stored``.
        stored: Activations that are INT8 for everybody who reads them.
    """
    reads: dict[str, dict[int, str]] = {}
    weights = {}
    for site in sites:
        reads.setdefault(site.name, {})[0] = site.data
        weights[site.name] = site
    for skip in skips:
        reads.setdefault(skip.node, {})[skip.index] = skip.data
    initializers = {w.name: w for w in model.graph.initializer}
    grown = _Grown(encodings)
    for original in model.graph.node:
        node = onnx.NodeProto()
        node.CopyFrom(original)
        own = {index: name for index, name in enumerate(node.input) if name in stored}
        for index, name in (own | reads.get(node.name, {})).items():
            node.input[index] = grown.read(name, node.name)
        if node.name in weights:
            site = weights[node.name]
            node.input[1] = grown.weight(initializers[site.weight], site)
        grown.nodes.append(node)
    return rebuilt(model, grown.nodes, grown.constants.values())


@dataclass
class _Grown:
    """The new graph: nodes in order, further constants by name, and the values already stored."""

    encodings: Mapping[str, Encoding]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, onnx.TensorProto] = field(default_factory=dict)
    stored: set[str] = field(default_factory=set)

    def read(self, name: str, reader: str) -> str:
        """An activation as it comes out of eight bits, for one reader."""
        numbers, scale, zero = f"{name}_int8", f"{name}_scale", f"{name}_zero"
        if name not in self.stored:
            self._constant(scale, np.array(self.encodings[name].scale, np.float32))
            self._constant(zero, np.array(self.encodings[name].zero))
            self._node("QuantizeLinear", [name, scale, zero], numbers, reader)
            self.stored.add(name)
        value = f"{numbers}_read{len(self.nodes)}"
        self._node("DequantizeLinear", [numbers, scale, zero], value, reader)
        return value

    def weight(self, tensor: onnx.TensorProto, site: Site) -> str:
        """The weight of a site, for it alone; its numbers are shared."""
        stem = f"{site.weight}_axis{site.axis}"
        names = [f"{stem}_int8", f"{stem}_scale", f"{stem}_zero"]
        if names[0] not in self.constants:
            numbers, scales = quantise_weight(read_weight(tensor), site.axis)
            values = (numbers, scales, np.zeros(len(scales), np.int8))
            for name, array in zip(names, values, strict=True):
                self._constant(name, np.asarray(array))
        value = f"{stem}_read{len(self.nodes)}"
        self._node("DequantizeLinear", names, value, site.name, site.axis)
        return value

    def _constant(self, name: str, values: npt.NDArray[np.generic]) -> None:
        self.constants[name] = numpy_helper.from_array(values, name)

    def _node(
        self, op: str, inputs: list[str], output: str, reader: str, axis: int | None = None
    ) -> None:
        """A node that is named after its reader's module."""
        module, slash, _ = reader.rpartition("/")
        node = helper.make_node(op, inputs, [output], f"{module}{slash}{op}_q{len(self.nodes)}")
        if axis is not None:
            node.attribute.append(helper.make_attribute("axis", axis))
        self.nodes.append(node)
