"""Multiply-adds of a node, operator by operator.

Sources: the operators' definitions (github.com/onnx/onnx/blob/main/docs/Operators.md,
github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md). What neither multiplies
matrices nor is known not to is never guessed: :class:`Uncountable` says why.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import defs

from edgepose.bench.cost.einsum import Uncountable, einsum_macs
from edgepose.bench.cost.graph import attribute, domain_of

__all__ = ["Call", "Uncountable", "macs_of"]

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Call:
    """A node and the shapes around it."""

    node: onnx.NodeProto
    shapes: Mapping[str, Shape]

    def input(self, index: int) -> Shape:
        """Shape of an input."""
        return self._shape(self.node.input[index] if index < len(self.node.input) else "")

    def given(self, index: int) -> bool:
        """Whether an optional input is there."""
        return index < len(self.node.input) and bool(self.node.input[index])

    @property
    def output(self) -> Shape:
        """Shape of the first output."""
        return self._shape(self.node.output[0])

    def attribute(self, name: str, default: Any = None) -> Any:
        """Value of an attribute."""
        return attribute(self.node, name, default)

    def _shape(self, name: str) -> Shape:
        if name not in self.shapes:
            raise Uncountable(f"the shape of '{name}' is unknown")
        return self.shapes[name]


def macs_of(call: Call, opset: int) -> int:
    """Multiply-adds of a node; 0 for what multiplies no matrices.

    Args:
        call: The node.
        opset: Version of the standard operator set.

    Raises:
        Uncountable: Nobody can say.
    """
    node = call.node
    domain, op = domain_of(node), str(node.op_type)
    count = _PRODUCTS.get((domain, op))
    if count is not None:
        return count(call)
    inner = [within for within in _inside(node) if not _idle(within, opset)]
    if inner:
        ops = sorted({within.op_type for within in inner})
        raise Uncountable(
            f"how often, or whether, the {', '.join(ops)} inside it run is not known beforehand"
        )
    if _idle(node, opset):
        return 0
    if not domain and op in _UNKNOWN:
        raise Uncountable("what it multiplies depends on the algorithm")
    place = f"of the domain '{domain}'" if domain else "of a later operator set"
    raise Uncountable(f"an operator {place} that is not known here")


def _inside(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    for found in node.attribute:
        for graph in [found.g] if found.HasField("g") else found.graphs:
            for within in graph.node:
                yield within
                yield from _inside(within)


def _idle(node: onnx.NodeProto, opset: int) -> bool:
    """Whether an operator is known to multiply no matrices."""
    domain, op = domain_of(node), node.op_type
    if (domain, op) in _PRODUCTS or (not domain and op in _UNKNOWN):
        return False
    if domain:
        return domain == _MICROSOFT and op in _IDLE_MICROSOFT
    return op in _IDLE_LATER or defs.has(op, min(opset, _READ_UP_TO))


def _conv(weight: int) -> Callable[[Call], int]:
    """Every number of the output is a sum over one filter: (channels of a group, kernel)."""
    return lambda call: math.prod(call.output) * math.prod(call.input(weight)[1:])


def _conv_transpose(call: Call) -> int:
    """Every number of the input is spread by one filter."""
    return math.prod(call.input(0)) * math.prod(call.input(1)[1:])


def _gemm(call: Call) -> int:
    shared = call.input(0)[0 if call.attribute("transA", 0) else 1]
    return math.prod(call.output) * shared


def _matmul(call: Call) -> int:
    """Every number of the output is a sum over the shared axis, the first's last."""
    return math.prod(call.output) * call.input(0)[-1]


def _fused_matmul(call: Call) -> int:
    if call.attribute("transBatchA", 0) or call.attribute("transBatchB", 0):
        raise Uncountable("its batch axes are transposed")
    shape = call.input(0)
    transposed = call.attribute("transA", 0) and len(shape) > 1
    return math.prod(call.output) * shape[-2 if transposed else -1]


def _matmul_bits(call: Call) -> int:
    return math.prod(call.output) * int(call.attribute("K"))


def _einsum(call: Call) -> int:
    shapes = [call.input(index) for index in range(len(call.node.input))]
    return einsum_macs(call.attribute("equation"), shapes)


def _attention(call: Call) -> int:
    """Of the standard's Attention: queries by keys, then shares by values."""
    if call.given(4) or call.given(5) or call.given(6):
        raise Uncountable("it attends to keys of earlier calls")
    query, key, value = (call.input(index) for index in range(3))
    if len(query) == 4:  # (B, h, T, d)
        heads, width, value_width = query[1], query[3], value[3]
    else:  # (B, T, h * d)
        heads, others = call.attribute("q_num_heads"), call.attribute("kv_num_heads")
        width, value_width = query[2] // heads, value[2] // others
    return query[0] * heads * query[-2] * key[-2] * (width + value_width)


def _multi_head(call: Call) -> int:
    """Of onnxruntime's MultiHeadAttention, with queries, keys and values apart."""
    plain = call.given(1) and call.given(2) and not any(call.given(i) for i in (6, 7))
    if not plain or len(call.input(1)) != 3:
        raise Uncountable("its queries, keys and values are packed, or of earlier calls")
    query, key, value = (call.input(index) for index in range(3))  # (B, T, h * d)
    return query[0] * query[1] * key[1] * (query[2] + value[2])


def _recurrent(call: Call) -> int:
    """Every step multiplies all weights: (directions, gates, inputs) and (..., hidden)."""
    steps = math.prod(call.input(0)[:2])
    return steps * (math.prod(call.input(1)) + math.prod(call.input(2)))


_MICROSOFT = "com.microsoft"
_PRODUCTS: dict[tuple[str, str], Callable[[Call], int]] = {
    ("", "Attention"): _attention,
    ("", "Conv"): _conv(1),
    ("", "ConvInteger"): _conv(1),
    ("", "ConvTranspose"): _conv_transpose,
    ("", "DeformConv"): _conv(1),
    ("", "Einsum"): _einsum,
    ("", "GRU"): _recurrent,
    ("", "Gemm"): _gemm,
    ("", "LSTM"): _recurrent,
    ("", "MatMul"): _matmul,
    ("", "MatMulInteger"): _matmul,
    ("", "QLinearConv"): _conv(3),
    ("", "QLinearMatMul"): _matmul,
    ("", "RNN"): _recurrent,
    (_MICROSOFT, "DynamicQuantizeMatMul"): _matmul,
    (_MICROSOFT, "FusedConv"): _conv(1),
    (_MICROSOFT, "FusedGemm"): _gemm,
    (_MICROSOFT, "FusedMatMul"): _fused_matmul,
    (_MICROSOFT, "GemmFloat8"): _gemm,
    (_MICROSOFT, "MatMulIntegerToFloat"): _matmul,
    (_MICROSOFT, "MatMulNBits"): _matmul_bits,
    (_MICROSOFT, "MultiHeadAttention"): _multi_head,
    (_MICROSOFT, "QGemm"): _gemm,
    (_MICROSOFT, "TransposeMatMul"): _fused_matmul,
}
# They multiply, by whatever algorithm the runtime has.
_UNKNOWN = frozenset({"AffineGrid", "DFT", "Det", "STFT"})
# Standard operators up to this set have been looked through; of later ones, those below.
_READ_UP_TO = 22
_IDLE_LATER = frozenset(
    {"BitCast", "CumProd", "RMSNormalization", "RotaryEmbedding", "SwiGLU", "Swish"}
) | {"TensorScatter"}
_IDLE_MICROSOFT = frozenset(
    {
        "BiasAdd",
        "BiasGelu",
        "BiasSoftmax",
        "BiasSplitGelu",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "FastGelu",
        "Gelu",
        "GridSample",
        "GroupNorm",
        "NhwcMaxPool",
        "QLinearAdd",
        "QLinearAveragePool",
        "QLinearConcat",
        "QLinearGlobalAveragePool",
        "QLinearLeakyRelu",
        "QLinearMul",
        "QLinearReduceMean",
        "QLinearSigmoid",
        "QLinearSoftmax",
        "QLinearWhere",
        "QuantizeLinear",
        "QuickGelu",
        "SkipGroupNorm",
        "SkipLayerNormalization",
        "SkipSimplifiedLayerNormalization",
    }
)
