"""TensorRT-RTX 1.7: operator sets 9 to 25.

Source: its own parser, version 1.7.1.116, which runs without a GPU. The operators are those it
answers yes for (supports_operator over every operator that ONNX has had), their types those of
TensorRT's matrix; limits were tried one by one with small graphs, and those it turned out not to
have are left out (cubic Resize, GridSample of volumes, unsorted TopK, pooling along one axis). It
reads FP64 too and rounds it to FP32; here that is refused as everywhere. The operator set range is
that of TensorRT 11: the parser itself warns at most.
"""

from __future__ import annotations

from edgepose.export.lint.rules import Rule, all_axes, ones
from edgepose.export.lint.tables import trt_11
from edgepose.export.lint.tables._limits import COMMON, RESIZE
from edgepose.export.lint.tables._operators import operators

__all__ = ["OPERATORS", "RULES", "TYPES"]

TYPES = trt_11.TYPES

_ADDED = operators({"FP32 FP16 BF16": "CausalConvWithState LinearAttention Swish"})
OPERATORS = {
    **{name: types for name, types in trt_11.OPERATORS.items() if name != "DeformConv"},
    **_ADDED,
    # Found: it has no activation in integers, whatever the matrix says.
    "Relu": trt_11.OPERATORS["Sigmoid"],
}

_POOL = "pool without dilation"

RULES: dict[str, tuple[Rule, ...]] = {
    **{name: r for name, r in trt_11.RULES.items() if name not in ("DeformConv", "GridSample")},
    "AveragePool": (ones("dilations", _POOL),),
    "MaxPool": (COMMON["MaxPool"][0], ones("dilations", _POOL)),
    "Resize": (*RESIZE[1:], all_axes("axes")),
    "ScatterElements": trt_11.RULES["ScatterND"],
    "TopK": COMMON["TopK"],
}
