"""Limits that TensorRT has had in every version from 8.6 on."""

from __future__ import annotations

from edgepose.export.lint.rules import (
    Rule,
    at_most,
    branches_differ,
    constant,
    false,
    one_of,
    ones,
    outputs,
    rank,
    zero,
)

__all__ = ["COMMON", "REDUCTIONS", "RESIZE"]

_POOL = "pool without dilation"
_PLANAR = "give it images: a batch of channels with two or three axes each"
_SCATTER = "add or compare outside the scatter, or write it with where"

RESIZE: tuple[Rule, ...] = (
    one_of("mode", "nearest", "nearest", "linear", hint="interpolate with nearest or bilinear"),
    one_of(
        "coordinate_transformation_mode",
        "half_pixel",
        "half_pixel",
        "pytorch_half_pixel",
        "tf_half_pixel_for_nn",
        "asymmetric",
        "align_corners",
        hint="interpolate with or without align_corners; nothing else is needed here",
    ),
    one_of(
        "nearest_mode",
        "round_prefer_floor",
        "floor",
        "ceil",
        "round_prefer_floor",
        "round_prefer_ceil",
        hint="interpolate with mode='nearest'",
    ),
    one_of(
        "keep_aspect_ratio_policy", "stretch", "stretch", hint="give the size itself, not a policy"
    ),
    one_of("antialias", 0, 0, hint="interpolate without antialias"),
)

_KINDS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
# The axes became an input with operator set 18 (ReduceSum: 13).
REDUCTIONS: dict[str, tuple[Rule, ...]] = {f"Reduce{kind}": (constant(1),) for kind in _KINDS}

COMMON: dict[str, tuple[Rule, ...]] = {
    **REDUCTIONS,
    "AveragePool": (ones("dilations", _POOL), rank(4, 5, hint=_PLANAR)),
    "BatchNormalization": (
        outputs(1, "export the module in evaluation mode"),
        one_of("training_mode", 0, 0, hint="export the module in evaluation mode"),
    ),
    "CumSum": (constant(1),),
    "DequantizeLinear": (zero(2),),
    "Dropout": (false(2, "export the module in evaluation mode"),),
    "GridSample": (rank(4, 4, hint="sample images, not volumes"),),
    "If": (branches_differ,),
    "LSTM": (
        one_of("input_forget", 0, 0, hint="do not couple the gates"),
        one_of("layout", 0, 0, hint="put the time first"),
    ),
    "LayerNormalization": (outputs(1, "compute the mean and deviation beside the norm"),),
    "LpPool": (ones("dilations", _POOL),),
    "MaxPool": (
        outputs(1, "pool without return_indices; unpool by comparing with the pooled value"),
        ones("dilations", _POOL),
        rank(4, 5, hint=_PLANAR),
    ),
    "QuantizeLinear": (zero(2),),
    "Resize": RESIZE,
    "ScatterND": (one_of("reduction", "none", "none", hint=_SCATTER),),
    "Squeeze": (constant(1),),
    "TopK": (at_most(1, 3840),),
    "Unsqueeze": (constant(1),),
}
