"""TensorRT 10 from 10.3 on (JetPack 6.1 and 6.2): operator sets 9 to 20.

Sources: onnx-tensorrt docs/operators.md headed "TensorRT 10.6", less what docs/Changelog.md adds
after 10.3 (10.4: the axes input of Pad and the window operators; 10.5: STFT). Later 10.x read more,
up to operator set 24 in 10.15. Not run: no copy of the library runs without a GPU.
"""

from __future__ import annotations

from edgepose.export.lint.rules import Rule, absent, all_axes, constant, one_of, symmetric_pads
from edgepose.export.lint.tables._limits import COMMON, RESIZE
from edgepose.export.lint.tables._operators import operators

__all__ = ["OPERATORS", "RULES", "TYPES"]

# FP64 it would round to FP32 without a word.
TYPES = frozenset(
    ["FP32", "FP16", "BF16", "INT32", "INT64", "INT8", "FP8", "INT4", "BOOL", "UINT8"]
)

OPERATORS = operators(
    {
        "BOOL": "And Not Or Xor",
        "INT8 FP8 INT4": "DequantizeLinear",
        "FP32 FP16": "DeformConv GridSample Mish NonMaxSuppression NonZero RoiAlign",
        "FP32 FP16 BF16": (
            "Acos Acosh Asin Asinh Atan Atanh AveragePool BatchNormalization Ceil Celu Clip Conv "
            "ConvTranspose Cos Cosh CumSum Dropout Einsum Elu Erf Exp Floor GRU Gemm "
            "GlobalAveragePool GlobalLpPool GlobalMaxPool GroupNormalization HardSigmoid HardSwish "
            "Hardmax InstanceNormalization IsInf LRN LSTM LayerNormalization LeakyRelu Log "
            "LogSoftmax LpNormalization LpPool MatMul MaxPool MeanVarianceNormalization PRelu Pow "
            "QuantizeLinear RNN RandomNormal RandomNormalLike RandomUniform RandomUniformLike "
            "Reciprocal Resize Round Scan Selu Sigmoid Sin Sinh Softmax Softplus Softsign Sqrt Tan "
            "Tanh ThresholdedRelu Upsample"
        ),
        "FP32 FP16 BF16 INT32 INT64": (
            "Abs Add ArgMax ArgMin DepthToSpace Div Equal Gelu Greater GreaterOrEqual IsNaN Less "
            "LessOrEqual Max Mean Min Mod Mul Neg Pad Range ReduceL1 ReduceL2 ReduceLogSum "
            "ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare "
            "Relu Scatter ScatterElements ScatterND Shrink Sign SpaceToDepth Sub Sum TopK"
        ),
        "FP32 FP16 BF16 INT32 INT64 BOOL": (
            "Concat Constant ConstantOfShape Expand EyeLike Flatten Gather GatherElements GatherND "
            "Identity If Loop OneHot Reshape ReverseSequence Shape Size Slice Split Squeeze Tile "
            "Transpose Trilu Unsqueeze Where"
        ),
        "FP32 FP16 BF16 INT32 INT64 BOOL UINT8": "Cast CastLike",
    }
)

RULES: dict[str, tuple[Rule, ...]] = {
    **COMMON,
    "DeformConv": (symmetric_pads,),
    "OneHot": (constant(1),),
    "Pad": (absent(3, hint="give the padding of every axis"),),
    "Resize": (*RESIZE, all_axes("axes")),
    "TopK": (*COMMON["TopK"], one_of("sorted", 1, 1, hint="ask for the values in order")),
}
