"""What FP16 arithmetic makes of a graph, on a machine that has none.

onnxruntime runs an FP16 graph on every CPU, but hardly in FP16: where it has no FP16 kernel it
computes in FP32, and between two such nodes it drops the casts and the rounding with them
(microsoft/onnxruntime issue 8787). A value of 120000 passes where FP16 has infinity. So a graph
that is to be judged on a CPU is turned into one of FP32 that rounds every value explicitly, as a
machine does that multiplies in FP16, sums in FP32 and stores in FP16. The detour over FP64 is what
onnxruntime does not drop.

A machine may round less than that: what TensorRT fuses it keeps in registers. No GPU was asked yet.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgepose.export.lint.view import places
from edgepose.export.precision.fp16_rules import MOVES
from edgepose.export.precision.session import read_weight

__all__ = ["with_rounding"]

_FLOAT, _HALF, _DOUBLE = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE
_TYPES = ("to", "dtype", "output_dtype")
# What gives its inputs as they are, or one of them.
_EXACT = (MOVES - {"Cast"}) | {"Abs", "Max", "Min", "Neg", "Relu"}


def with_rounding(model: onnx.ModelProto) -> onnx.ModelProto:
    """An FP16 graph as an FP32 graph with the same values, on onnxruntime's CPU.

    Args:
        model: It stays as it is. A graph without FP16 comes back as a copy.

    Raises:
        GraphError: It is no valid ONNX, or its weights are in another file.
    """
    nodes = places(model)
    types = nodes[0].values.types if nodes else {}
    halves = {name for name, kind in types.items() if kind == "FP16"}
    other = onnx.ModelProto()
    other.CopyFrom(model)
    graph = other.graph
    del graph.node[:]
    for node in model.graph.node:
        graph.node.extend(_rounded(node, halves))
    del graph.initializer[:]
    for weight in model.graph.initializer:
        graph.initializer.append(_widened(weight) if weight.data_type == _HALF else weight)
    for value in [*graph.input, *graph.output, *graph.value_info]:
        if value.type.tensor_type.elem_type == _HALF:
            value.type.tensor_type.elem_type = _FLOAT
    return other


def _rounded(node: onnx.NodeProto, halves: set[str]) -> Iterator[onnx.NodeProto]:
    """The node in FP32, and the rounding of its results."""
    other = onnx.NodeProto()
    other.CopyFrom(node)
    results = [name for name in node.output if name in halves]
    for attribute in other.attribute:
        if attribute.name in _TYPES and attribute.i == _HALF:
            attribute.i = _FLOAT
        elif attribute.HasField("t") and attribute.t.data_type == _HALF:
            attribute.t.CopyFrom(_widened(attribute.t))
    if node.op_type in _EXACT:
        results = []
    other.output[:] = [f"{name}/exact" if name in results else name for name in node.output]
    yield other
    for name in results:
        stages = [f"{name}/exact", f"{name}/half", f"{name}/double", name]
        for stage, kind in enumerate((_HALF, _DOUBLE, _FLOAT)):
            yield helper.make_node(
                "Cast", [stages[stage]], [stages[stage + 1]], name=stages[stage + 1], to=kind
            )


def _widened(weight: TensorProto) -> TensorProto:
    wide: TensorProto = numpy_helper.from_array(read_weight(weight).astype(np.float32), weight.name)
    return wide
