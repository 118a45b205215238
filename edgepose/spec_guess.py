"""Guessing the spec of a foreign ONNX file from its shapes. Only on request, and always shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgepose.errors import SpecError
from edgepose.runtime.onnxruntime import open_session
from edgepose.spec import COCO_KEYPOINTS, DecoderSpec, DType, KeypointSet, Layout, PoseSpec

__all__ = ["guess_spec"]

_DTYPES: dict[str, DType] = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(uint8)": "uint8",
}
# OKS sigma of keypoints nobody knows: the mean of COCO's.
_UNKNOWN_SIGMA = round(sum(COCO_KEYPOINTS.sigmas) / len(COCO_KEYPOINTS), 3)
_HINT = "write the spec yourself: --spec FILE.toml"


def guess_spec(path: str | Path) -> PoseSpec:
    """What the shapes say, and for the rest what most public top-down models do.

    Shapes tell the input size, the kind of output, the number of keypoints and the SimCC split.
    They do not tell colours, mean and std (RGB and ImageNet's are taken), the alignment of cells
    (``unit`` for heatmaps as in UDP, ``corner`` for SimCC as in RTMPose) or the box padding (1.25).

    Raises:
        SpecError: The shapes fit no kind of pose model.
        GraphError: The file cannot be loaded.
    """
    path = Path(path)
    session = open_session(path, "cpu", 1)
    inputs = session.get_inputs()
    shape = list(inputs[0].shape)
    if len(inputs) != 1 or len(shape) != 4 or inputs[0].type not in _DTYPES:
        raise SpecError(
            f"cannot guess the spec of {path}", "a pose graph takes one batch of pictures", _HINT
        )
    layout: Layout = "nchw" if shape[1] == 3 else "nhwc"
    height, width = shape[2:] if layout == "nchw" else shape[1:3]
    if not isinstance(height, int) or not isinstance(width, int):
        raise SpecError(f"cannot guess the spec of {path}", f"its input is {shape}", _HINT)
    outputs = [list(o.shape) for o in session.get_outputs()]
    common: dict[str, Any] = {
        "model": path.stem,
        "input_size": (height, width),
        "layout": layout,
        "dtype": _DTYPES[inputs[0].type],
    }
    if len(outputs) == 1 and len(outputs[0]) == 4 and isinstance(outputs[0][1], int):
        return PoseSpec(
            **common,
            output="heatmap",
            decoder=DecoderSpec(name="dark", alignment="unit"),
            keypoints=_keypoints(outputs[0][1]),
        )
    ratio = _split_ratio(outputs, height, width)
    if ratio is not None:
        return PoseSpec(
            **common,
            output="simcc",
            decoder=DecoderSpec(name="simcc", alignment="corner", split_ratio=ratio),
            keypoints=_keypoints(outputs[0][1]),
        )
    raise SpecError(
        f"cannot guess the spec of {path}",
        f"its outputs {outputs} are neither heatmaps (N, K, h, w) nor a SimCC pair "
        f"(N, K, {width}*split) and (N, K, {height}*split)",
        _HINT,
    )


def _split_ratio(outputs: list[list[Any]], height: int, width: int) -> float | None:
    """Bins per pixel, if these are a SimCC pair."""
    if len(outputs) != 2 or any(len(o) != 3 or not isinstance(o[2], int) for o in outputs):
        return None
    if outputs[0][1] != outputs[1][1] or not isinstance(outputs[0][1], int):
        return None
    for x, y in (outputs, outputs[::-1]):
        if x[2] * height == y[2] * width:
            return float(x[2] / width)
    return None


def _keypoints(count: int) -> KeypointSet:
    if count == len(COCO_KEYPOINTS):
        return COCO_KEYPOINTS
    return KeypointSet(
        names=tuple(f"point_{i}" for i in range(count)),
        flip_pairs=(),
        skeleton=(),
        sigmas=(_UNKNOWN_SIGMA,) * count,
    )
