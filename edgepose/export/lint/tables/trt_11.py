"""TensorRT 11: operator sets 9 to 25. Inferred, in its operators and in their limits.

Sources: the range is from NVIDIA's ONNX opset guide for 11.x; its matrix was not to be had, so the
operators are those of onnx-tensorrt docs/operators.md headed "TensorRT 10.15", the last before it.
The parser of TensorRT-RTX 1.7.1, its sister of the same year, knows all of them but DeformConv.
"""

from __future__ import annotations

from edgepose.export.lint.rules import Rule, absent, constant, one_of, outputs, rank
from edgepose.export.lint.tables import trt_10
from edgepose.export.lint.tables._operators import operators

__all__ = ["ATTENTION", "OPERATORS", "RULES", "TYPES"]

TYPES = trt_10.TYPES | {"FP4"}

_ADDED = operators(
    {
        "FP32": "STFT",
        "FP32 FP16": "BlackmanWindow HammingWindow HannWindow",
        "FP32 FP16 BF16": "RMSNormalization RotaryEmbedding",
        "FP32 FP16 BF16 INT32": "TensorScatter",
        "FP32 FP16 BF16 INT8 FP8": "Attention",
    }
)
OPERATORS = {
    **trt_10.OPERATORS,
    **_ADDED,
    "DequantizeLinear": frozenset({"INT8", "FP8", "FP4", "INT4"}),
    "Pow": trt_10.OPERATORS["Add"],
}

_HEADS = "give queries, keys and values as (batch, heads, tokens, channels)"
_CACHE = "compute attention without a cache"

ATTENTION: tuple[Rule, ...] = (
    *(rank(4, 4, index=i, hint=_HEADS) for i in range(4)),
    absent(4, 5, 6, hint=_CACHE),
    outputs(1, _CACHE),
    one_of("qk_matmul_output_mode", 0, 0, hint="leave the mode out"),
    one_of("softcap", 0.0, 0.0, hint="compute attention without a soft cap"),
)
_TENSOR_SCATTER: tuple[Rule, ...] = (
    *(rank(4, 4, index=i, hint="give (batch, heads, tokens, channels)") for i in range(2)),
    one_of("axis", -2, -2, hint="scatter along the tokens"),
)

RULES: dict[str, tuple[Rule, ...]] = {
    **{name: rules for name, rules in trt_10.RULES.items() if name != "Pad"},
    "Attention": ATTENTION,
    "STFT": (constant(1, 2),),
    "TensorScatter": _TENSOR_SCATTER,
}
