"""A graph as the rules see it: every node with the types, shapes and constants around it."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, defs, helper, numpy_helper, shape_inference

from edgepose.errors import GraphError

__all__ = ["Place", "Values", "places", "short_type"]

Shape = tuple[int | None, ...]

# Weights above this many numbers tell no rule anything, and copying them costs memory.
_READABLE = 4096
_TYPES: dict[int, str] = {
    TensorProto.FLOAT: "FP32",
    TensorProto.FLOAT16: "FP16",
    TensorProto.BFLOAT16: "BF16",
    TensorProto.DOUBLE: "FP64",
    TensorProto.FLOAT8E4M3FN: "FP8",
}


def short_type(element: int) -> str:
    """``FP32``, ``INT64``, ... of ONNX's number for an element type."""
    return _TYPES.get(element) or str(TensorProto.DataType.Name(element))


@dataclass(frozen=True)
class Values:
    """What is known of the values of a graph, and of the graphs around it.

    Attributes:
        types: Short element type by name.
        shapes: Shape by name; None for an axis of free extent. Names of unknown rank are absent.
        constants: Tensor by name.
        inputs: Names that are inputs of the whole model.
        outputs: Names that are outputs of the whole model.
    """

    types: ChainMap[str, str]
    shapes: ChainMap[str, Shape]
    constants: ChainMap[str, TensorProto]
    inputs: frozenset[str]
    outputs: frozenset[str]


@dataclass(frozen=True)
class Place:
    """A node and what surrounds it.

    Attributes:
        node: The node.
        opset: Operator set of the model.
        values: What is known of its inputs and outputs.
    """

    node: onnx.NodeProto
    opset: int
    values: Values

    def attribute(self, name: str, default: Any = None) -> Any:
        """Value of an attribute; strings as ``str``."""
        for attribute in self.node.attribute:
            if attribute.name == name:
                value = helper.get_attribute_value(attribute)
                return value.decode() if isinstance(value, bytes) else value
        return default

    def input(self, index: int) -> str:
        """Name of an input, empty where it is left out."""
        return self.node.input[index] if index < len(self.node.input) else ""

    def constant(self, index: int) -> bool:
        """Whether an input is a constant, or left out."""
        return not self.input(index) or self.input(index) in self.values.constants

    def numbers(self, index: int) -> npt.NDArray[Any] | None:
        """The numbers of a constant input; None where they are computed or in another file."""
        return numbers(self.values.constants.get(self.input(index)))

    def rank(self, index: int) -> int | None:
        """Number of axes of an input, if known."""
        shape = self.values.shapes.get(self.input(index))
        return None if shape is None else len(shape)

    def schema(self) -> defs.OpSchema | None:
        """ONNX's definition of the operator; None where the operator set has none."""
        try:
            return defs.get_schema(self.node.op_type, self.opset, "")
        except defs.SchemaError:
            return None


def numbers(tensor: TensorProto | None) -> npt.NDArray[Any] | None:
    """A tensor as an array; None for none, and for weights in another file."""
    if tensor is None or tensor.data_location == TensorProto.EXTERNAL:
        return None
    return np.asarray(numpy_helper.to_array(tensor))


def places(model: onnx.ModelProto) -> list[Place]:
    """All nodes of a model, those in branches and loop bodies included.

    Raises:
        GraphError: The types of its values cannot be inferred: it is no valid ONNX.
    """
    known = _inferred(model)
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    values = Values(
        types=ChainMap(),
        shapes=ChainMap(),
        constants=ChainMap(),
        inputs=frozenset(i.name for i in model.graph.input),
        outputs=frozenset(o.name for o in model.graph.output),
    )
    return list(_places(known.graph, values, opset, model.graph.initializer))


def _places(graph: onnx.GraphProto, outer: Values, opset: int, constants: Any) -> Iterator[Place]:
    values = Values(
        types=outer.types.new_child(),
        shapes=outer.shapes.new_child(),
        constants=outer.constants.new_child(),
        inputs=outer.inputs,
        outputs=outer.outputs,
    )
    for value in [*graph.input, *graph.output, *graph.value_info]:
        tensor = value.type.tensor_type
        if tensor.elem_type:
            values.types[value.name] = short_type(tensor.elem_type)
        if tensor.HasField("shape"):
            values.shapes[value.name] = tuple(
                d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim
            )
    named = [(i.name, i) for i in constants]
    named += [
        (node.output[0], attribute.t)
        for node in graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    ]
    for name, tensor in named:
        values.constants[name] = tensor
        values.types[name] = short_type(tensor.data_type)
        values.shapes[name] = tuple(tensor.dims)
    for node in graph.node:
        yield Place(node=node, opset=opset, values=values)
        for attribute in node.attribute:
            for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                yield from _places(inner, values, opset, inner.initializer)


def _inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph without its weights, with the type of every value."""
    light = onnx.ModelProto(ir_version=model.ir_version)
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    graph = light.graph
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    graph.value_info.extend(model.graph.value_info)
    for weight in model.graph.initializer:
        inside = weight.data_location != TensorProto.EXTERNAL
        if inside and np.prod(weight.dims, dtype=np.int64) <= _READABLE:
            graph.initializer.append(weight)
        else:
            graph.input.append(
                helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims)
            )
    try:
        return shape_inference.infer_shapes(light, data_prop=True)
    except (onnx.checker.ValidationError, shape_inference.InferenceError) as error:
        raise GraphError("the graph is no valid ONNX", str(error).strip()) from error
