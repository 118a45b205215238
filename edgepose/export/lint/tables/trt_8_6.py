"""TensorRT 8.6 (JetPack 6.0): up to operator set 17.

Sources: onnx-tensorrt docs/operators.md in its last revision headed "TensorRT 8.5", with what
docs/Changelog.md adds for 8.6 (LayerNormalization, GroupNormalization and IsInf; INT32 for ArgMax,
ArgMin and TopK; ReverseSequence and TopK of computed extents). That no pooling layer dilates and
that ScatterND and ScatterElements cannot reduce is from the later matrices, which say when it
became otherwise. Not run: the library does nothing without a GPU.
"""

from __future__ import annotations

from edgepose.export.lint.rules import Rule, constant, one_of, plain_einsum, rank
from edgepose.export.lint.tables._limits import COMMON
from edgepose.export.lint.tables._operators import operators

__all__ = ["OPERATORS", "RULES", "TYPES"]

# What it reads as 64 bit integers it holds in 32; FP64 it would round to FP32 without a word.
TYPES = frozenset({"FP32", "FP16", "INT32", "INT8", "BOOL", "UINT8"})

OPERATORS = operators(
    {
        "BOOL": "And Not Or Xor",
        "FP32": "ConstantOfShape",
        "INT8": "DequantizeLinear",
        "FP32 FP16": (
            "Acos Acosh Asin Asinh Atan Atanh BatchNormalization Ceil Celu Cos Cosh CumSum Dropout "
            "Einsum Erf Exp Floor GRU GridSample GroupNormalization InstanceNormalization IsInf "
            "LRN LSTM LayerNormalization Log LogSoftmax LpNormalization MatMul "
            "MeanVarianceNormalization NonMaxSuppression NonZero Pow QuantizeLinear RNN "
            "RandomNormal RandomNormalLike RandomUniform RandomUniformLike Reciprocal ReduceL1 "
            "ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd "
            "ReduceSum ReduceSumSquare Resize ReverseSequence RoiAlign Scan Sin Sinh Softmax Sqrt "
            "Tan Upsample"
        ),
        "FP32 FP16 INT8": (
            "Clip Conv ConvTranspose Elu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool "
            "HardSigmoid HardSwish LeakyRelu LpPool MaxPool PRelu Relu Round Selu Sigmoid Softplus "
            "Softsign Tanh ThresholdedRelu"
        ),
        "FP32 FP16 INT32": (
            "Abs Add ArgMax ArgMin DepthToSpace Div Equal Greater GreaterOrEqual IsNaN Less "
            "LessOrEqual Max Mean Min Mod Mul Neg Range Shrink SpaceToDepth Sub Sum TopK"
        ),
        "FP32 FP16 INT32 INT8": "AveragePool Pad Scatter ScatterElements ScatterND Sign",
        "FP32 FP16 INT32 BOOL": "Expand EyeLike Flatten If Loop OneHot Split Tile Where",
        "FP32 FP16 INT32 INT8 BOOL": (
            "Concat Constant Gather GatherElements GatherND Identity Reshape Shape Size Slice "
            "Squeeze Transpose Trilu Unsqueeze"
        ),
        "FP32 FP16 INT32 INT8 BOOL UINT8": "Cast",
    }
)

RULES: dict[str, tuple[Rule, ...]] = {
    **COMMON,
    "Einsum": (plain_einsum,),
    "InstanceNormalization": (
        constant(1, 2),
        rank(3, 5, hint="normalise a batch of channels with one to three axes each"),
    ),
    "ScatterElements": (
        one_of("reduction", "none", "none", hint="add or compare outside the scatter"),
    ),
    "Slice": (constant(3),),
}
