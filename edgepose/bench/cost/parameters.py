"""Which numbers of a graph are parameters, and which nodes read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx
from onnx import TensorProto

from edgepose.bench.cost.graph import Constant, Graph

__all__ = ["parameters_of"]

_FLOATS = frozenset(
    {
        TensorProto.FLOAT,
        TensorProto.FLOAT16,
        TensorProto.BFLOAT16,
        TensorProto.DOUBLE,
        TensorProto.FLOAT8E4M3FN,
        TensorProto.FLOAT8E5M2,
    }
)
# Inputs that may hold parameters, where others are sizes, bounds, statistics or scales.
_FIRST = frozenset({0})
_HOLDERS: Mapping[str, frozenset[int]] = {
    "BatchNormalization": frozenset({0, 1, 2}),  # its statistics are no parameters, as in PyTorch
    "Clip": _FIRST,
    "ConstantOfShape": frozenset(),
    "DequantizeLinear": _FIRST,
    "Dropout": _FIRST,
    "DynamicQuantizeMatMul": frozenset({0, 1, 4}),
    "MatMulIntegerToFloat": frozenset({0, 1, 6}),
    "MatMulNBits": frozenset({0, 1}),
    "NonMaxSuppression": frozenset(),
    "OneHot": frozenset(),
    "Pad": _FIRST,
    "QGemm": frozenset({0, 3, 6}),
    "QLinearAdd": frozenset({0, 3}),
    "QLinearConv": frozenset({0, 3, 8}),
    "QLinearMatMul": frozenset({0, 3}),
    "QLinearMul": frozenset({0, 3}),
    "QuantizeLinear": _FIRST,
    "Range": frozenset(),
    "Resize": _FIRST,
    "Upsample": _FIRST,
}
# Operators whose integers are weights. Everywhere else integers are sizes and indices.
_QUANTISED = frozenset(
    {
        "ConvInteger",
        "DequantizeLinear",
        "DynamicQuantizeMatMul",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "MatMulNBits",
        "QGemm",
        "QLinearAdd",
        "QLinearConv",
        "QLinearMatMul",
        "QLinearMul",
    }
)
# Where even a single number is a parameter. Elsewhere it is a constant of a formula.
_LAYERS = frozenset(
    {
        "BatchNormalization",
        "Conv",
        "ConvTranspose",
        "DequantizeLinear",
        "Gemm",
        "GroupNormalization",
        "InstanceNormalization",
        "LayerNormalization",
        "MatMul",
        "PRelu",
        "RMSNormalization",
    }
)


def parameters_of(graph: Graph) -> list[list[Constant]]:
    """Parameters that each of ``graph.nodes`` reads; what several read is in several lists."""
    return [list({c.name: c for c in _read_by(n, graph)}.values()) for n in graph.nodes]


def _read_by(node: onnx.NodeProto, graph: Graph) -> Iterator[Constant]:
    """Tensors of parameters that reach a node, straight or by way of folded nodes."""
    holders = _HOLDERS.get(node.op_type)
    if node.op_type.startswith("QLinear") and holders is None:
        holders = _FIRST
    for index, name in enumerate(node.input):
        if holders is not None and index not in holders:
            continue
        constant = graph.constants.get(name)
        if constant is not None and _is_parameter(constant, node):
            yield constant
        elif constant is None and name in graph.makers:
            yield from _read_by(graph.makers[name], graph)


def _is_parameter(constant: Constant, node: onnx.NodeProto) -> bool:
    if constant.kind not in _FLOATS and node.op_type not in _QUANTISED:
        return False
    return constant.count > 1 or node.op_type in _LAYERS
