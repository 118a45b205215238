"""Operator set 17 for runtimes that stop there; the exporter begins at 18.

Between the two, thirteen operators changed in ways that matter here: most only moved an attribute
to an input. What used a feature that 17 does not have is an error, never a guess. (onnx's own
version converter has no adapter for Split and wants reduction axes where the exporter does not
put them.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import defs, helper, numpy_helper, shape_inference

from edgepose.errors import GraphError, InputError

__all__ = ["DEFAULT_OPSET", "INT8_FP16_OPSET", "OPSETS", "check_opset", "downgrade", "ir_version"]

OPSETS = range(17, 21)
DEFAULT_OPSET = 18
# The first in which QuantizeLinear and DequantizeLinear take FP16.
INT8_FP16_OPSET = 19
NATIVE = 18

_NEW_IN_18: dict[str, dict[str, Any]] = {
    "Resize": {"antialias": 0, "keep_aspect_ratio_policy": b"stretch"},
    "ScatterElements": {},
    "ScatterND": {},
}
_REDUCTIONS = frozenset(
    f"Reduce{kind}"
    for kind in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")
)


def check_opset(opset: int) -> None:
    """Refuse an operator set outside 17..20.

    Raises:
        InputError: With the range.
    """
    if opset not in OPSETS:
        raise InputError(
            f"cannot export to operator set {opset}",
            f"edgepose writes {OPSETS[0]} to {OPSETS[-1]}: TensorRT 8.6 reads the first of them, "
            "TensorRT 10 and 11 and onnxruntime 1.17 and later all",
            f"--opset {DEFAULT_OPSET}",
        )


def ir_version(opset: int) -> int:
    """The file format that is as old as the operator set, so that as old a runtime reads it."""
    return 8 if opset <= 18 else 9


def downgrade(model: onnx.ModelProto) -> onnx.ModelProto:
    """A graph of operator set 18 as one of 17.

    Raises:
        GraphError: A node uses what 17 does not have; names the node.
    """
    inferred = shape_inference.infer_shapes(model)
    context = _Context(inferred)
    for node in inferred.graph.node:
        if _version(node.op_type, NATIVE) != _version(node.op_type, NATIVE - 1):
            _converter(node)(node, context)
    del inferred.opset_import[:]
    inferred.opset_import.append(helper.make_opsetid("", NATIVE - 1))
    return inferred


class _Context:
    """Constants and shapes of a graph, by name."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.constants = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
        values = [*model.graph.input, *model.graph.value_info]
        self.shapes = {v.name: v.type.tensor_type.shape.dim for v in values}

    def constant(self, node: onnx.NodeProto, position: int) -> list[int]:
        name = node.input[position]
        if name not in self.constants:
            raise _refusal(node, f"its input {position} is computed, {NATIVE - 1} wants a constant")
        return [int(v) for v in self.constants[name].reshape(-1)]

    def extent(self, node: onnx.NodeProto, axis: int) -> int:
        dims = self.shapes.get(node.input[0], ())
        if not dims or not dims[axis].HasField("dim_value"):
            raise _refusal(node, f"the extent of axis {axis} is not known")
        return int(dims[axis].dim_value)

    def add_constant(self, name: str, values: list[int]) -> str:
        tensor = numpy_helper.from_array(np.asarray(values, np.int64), name)
        self.graph.initializer.append(tensor)
        return name


def _version(operator: str, opset: int) -> int | None:
    try:
        return int(defs.get_schema(operator, opset).since_version)
    except defs.SchemaError:
        return None


def _converter(node: onnx.NodeProto) -> Callable[[onnx.NodeProto, _Context], None]:
    if node.op_type in _REDUCTIONS:
        return _reduction
    if node.op_type == "Split":
        return _split
    if node.op_type == "Pad":
        return _pad
    if node.op_type in _NEW_IN_18:
        return _without_new_attributes
    raise _refusal(node, f"operator set {NATIVE - 1} has none with this meaning")


def _reduction(node: onnx.NodeProto, context: _Context) -> None:
    """The axes move from the second input to an attribute."""
    axes = context.constant(node, 1) if len(node.input) > 1 and node.input[1] else []
    if not axes and _attribute(node, "noop_with_empty_axes", 0):
        raise _refusal(node, "it reduces nothing")
    _remove(node, "noop_with_empty_axes")
    del node.input[1:]
    if axes:
        node.attribute.append(helper.make_attribute("axes", axes))


def _split(node: onnx.NodeProto, context: _Context) -> None:
    """A number of parts becomes their sizes; the last may be smaller."""
    count = _attribute(node, "num_outputs", 0)
    _remove(node, "num_outputs")
    if not count:
        return
    extent = context.extent(node, _attribute(node, "axis", 0))
    size = -(-extent // count)
    sizes = [size] * (count - 1) + [extent - size * (count - 1)]
    del node.input[1:]
    node.input.append(context.add_constant(f"{node.output[0]}_sizes", sizes))


def _pad(node: onnx.NodeProto, context: _Context) -> None:
    if len(node.input) > 3 and node.input[3]:
        raise _refusal(node, "it pads chosen axes only")


def _without_new_attributes(node: onnx.NodeProto, context: _Context) -> None:
    for name, default in _NEW_IN_18[node.op_type].items():
        if _attribute(node, name, default) != default:
            raise _refusal(node, f"its '{name}' is not the default")
        _remove(node, name)
    if _attribute(node, "axes", None) is not None:
        raise _refusal(node, "it names axes")
    if _attribute(node, "reduction", b"none") in (b"max", b"min"):
        raise _refusal(node, "it reduces by maximum or minimum")


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def _remove(node: onnx.NodeProto, name: str) -> None:
    kept = [a for a in node.attribute if a.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)


def _refusal(node: onnx.NodeProto, why: str) -> GraphError:
    return GraphError(
        f"{node.op_type} node '{node.name}' cannot be written for operator set {NATIVE - 1}",
        why,
        f"--opset {NATIVE}",
    )
