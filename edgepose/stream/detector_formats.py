"""The adapter table: how each family of detectors wants its picture and writes down its boxes.

A format is recognised by the shapes of the outputs alone; `mmdeploy` graphs of YOLOX and RTMDet
share theirs and differ in the preprocessing, so that one of them has to be asked for by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgepose.errors import GraphError
from edgepose.poses import Float32
from edgepose.spec import Colour

__all__ = ["FORMATS", "DetectorFormat", "Raw", "choose_format", "format_table", "read_yolox"]

Raw = Sequence[npt.NDArray[Any]]
Size = tuple[int, int]
Boxes = tuple[Float32, Float32]

PERSON = 0  # class index of a person in every one of these families (COCO order)
_STRIDES = (8, 16, 32)


@dataclass(frozen=True, kw_only=True)
class DetectorFormat:
    """One row of the table.

    Attributes:
        name: What ``--detector-format`` takes.
        summary: Outputs and preprocessing, in words.
        matches: Whether outputs of these shapes, for this input size, are of this format.
        read: Outputs -> (N, 4) boxes x0 y0 x1 y1 in input pixels and (N,) person scores.
        overlapping: The boxes still need non-maximum suppression.
        colour: Channel order of the input.
        mean: Per channel in that order, 0..255 units.
        std: Likewise.
        centred: Where the letterbox puts the picture.
        fill: Grey level beside the picture.
    """

    name: str
    summary: str
    matches: Callable[[Raw, Size], bool]
    read: Callable[[Raw, Size], Boxes]
    overlapping: bool
    colour: Colour
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    centred: bool = False
    fill: int = 114


def _cells(size: Size) -> int:
    """Cells of the three grids over an input of that size."""
    return sum((size[0] // s) * (size[1] // s) for s in _STRIDES)


def _xyxy(centre: Float32, extent: Float32) -> Float32:
    return np.concatenate([centre - extent / 2, centre + extent / 2], axis=-1)  # (N, 4)


def _is_yolox(outputs: Raw, size: Size) -> bool:
    return _single(outputs, 3) and outputs[0].shape[1] == _cells(size) and outputs[0].shape[2] > 5


def read_yolox(outputs: Raw, size: Size) -> Boxes:
    """Raw heads of YOLOX (Ge et al., 2021, section 2.1).

    Each cell of each grid gives (x, y, log w, log h) in units of its stride, relative to its own
    corner, then objectness and class probabilities.
    """
    rows = outputs[0][0].astype(np.float32)  # (cells, 5 + C)
    corners, strides = [], []
    for stride in _STRIDES:
        y, x = np.mgrid[: size[0] // stride, : size[1] // stride]
        corners.append(np.stack([x.ravel(), y.ravel()], 1))
        strides.append(np.full((x.size, 1), stride))
    corner = np.concatenate(corners).astype(np.float32)  # (cells, 2)
    stride_of = np.concatenate(strides).astype(np.float32)  # (cells, 1)
    centre = (rows[:, :2] + corner) * stride_of
    # exp of garbage from an untrained cell must not become infinity.
    extent = np.exp(rows[:, 2:4].clip(-20, 20)) * stride_of
    return _xyxy(centre, extent), rows[:, 4] * rows[:, 5 + PERSON]


def _read_yolox_decoded(outputs: Raw, size: Size) -> Boxes:
    del size
    rows = outputs[0][0].astype(np.float32)  # (cells, 5 + C)
    return _xyxy(rows[:, :2], rows[:, 2:4]), rows[:, 4] * rows[:, 5 + PERSON]


def _is_yolov8(outputs: Raw, size: Size) -> bool:
    return _single(outputs, 3) and outputs[0].shape[2] == _cells(size) and outputs[0].shape[1] > 4


def _read_yolov8(outputs: Raw, size: Size) -> Boxes:
    del size
    rows = outputs[0][0].astype(np.float32).T  # (cells, 4 + C)
    return _xyxy(rows[:, :2], rows[:, 2:4]), rows[:, 4 + PERSON]


def _is_end2end(outputs: Raw, size: Size) -> bool:
    return _single(outputs, 3) and outputs[0].shape[2] == 6 and outputs[0].shape[1] != _cells(size)


def _read_end2end(outputs: Raw, size: Size) -> Boxes:
    del size
    rows = outputs[0][0].astype(np.float32)  # (N, 6): x0 y0 x1 y1 score class
    persons = rows[np.rint(rows[:, 5]) == PERSON]
    return persons[:, :4], persons[:, 4]


def _is_dets_labels(outputs: Raw, size: Size) -> bool:
    del size
    return len(outputs) == 2 and _dets_labels(outputs) is not None


def _read_dets_labels(outputs: Raw, size: Size) -> Boxes:
    del size
    pair = _dets_labels(outputs)
    if pair is None:  # the format was forced upon a graph that has others
        raise ValueError("needs [1, N, 5] boxes with scores and [1, N] labels")
    dets, labels = pair
    persons = dets[0][labels[0] == PERSON].astype(np.float32)  # (N, 5): x0 y0 x1 y1 score
    return persons[:, :4], persons[:, 4]


def _dets_labels(outputs: Raw) -> tuple[npt.NDArray[Any], npt.NDArray[Any]] | None:
    """The two outputs of mmdeploy's detectors, in whichever order they come."""
    dets = [o for o in outputs if o.ndim == 3 and o.shape[2] == 5]
    labels = [o for o in outputs if o.ndim == 2]
    return (dets[0], labels[0]) if len(dets) == len(labels) == 1 else None


def _single(outputs: Raw, dimensions: int) -> bool:
    return len(outputs) == 1 and outputs[0].ndim == dimensions and outputs[0].shape[0] == 1


def _never(outputs: Raw, size: Size) -> bool:
    del outputs, size
    return False


# Recognised from the top; rows that share their shapes with one above have to be named.
FORMATS: tuple[DetectorFormat, ...] = (
    DetectorFormat(
        name="yolox",
        summary="[1, cells, 5+C] raw heads of strides 8/16/32; BGR 0..255, top left",
        matches=_is_yolox,
        read=read_yolox,
        overlapping=True,
        colour="bgr",
    ),
    DetectorFormat(
        name="yolov8",
        summary="[1, 4+C, cells] (Ultralytics v8, 11); RGB 0..1, centred",
        matches=_is_yolov8,
        read=_read_yolov8,
        overlapping=True,
        colour="rgb",
        std=(255.0, 255.0, 255.0),
        centred=True,
    ),
    DetectorFormat(
        name="end2end",
        summary="[1, N, 6] x0 y0 x1 y1 score class (Ultralytics v10 and nms=True); RGB 0..1, "
        "centred",
        matches=_is_end2end,
        read=_read_end2end,
        overlapping=False,
        colour="rgb",
        std=(255.0, 255.0, 255.0),
        centred=True,
    ),
    DetectorFormat(
        name="rtmdet",
        summary="[1, N, 5] boxes and [1, N] labels (mmdeploy); BGR, mean and std, top left",
        matches=_is_dets_labels,
        read=_read_dets_labels,
        overlapping=False,
        colour="bgr",
        mean=(103.53, 116.28, 123.675),
        std=(57.375, 57.12, 58.395),
    ),
    DetectorFormat(
        name="yolox-nms",
        summary="as rtmdet, but YOLOX inside (mmdeploy); BGR 0..255, top left. By name only",
        matches=_never,
        read=_read_dets_labels,
        overlapping=False,
        colour="bgr",
    ),
    DetectorFormat(
        name="yolox-decoded",
        summary="as yolox, boxes decoded in the graph (--decode_in_inference). By name only",
        matches=_never,
        read=_read_yolox_decoded,
        overlapping=True,
        colour="bgr",
    ),
)


def format_table() -> str:
    """The table, one row a line."""
    return "\n".join(f"    {f.name:<14}{f.summary}" for f in FORMATS)


def choose_format(outputs: Raw, size: Size, name: str | None) -> DetectorFormat:
    """The format called ``name``, or the first that the outputs fit.

    Args:
        outputs: What the graph gave for some picture.
        size: (H, W) of its input.
        name: Override, or None.

    Raises:
        GraphError: No such name, or no format fits; lists the table.
    """
    shapes = ", ".join(str(list(o.shape)) for o in outputs)
    if name is not None:
        chosen = next((f for f in FORMATS if f.name == name), None)
        if chosen is None:
            raise GraphError(
                f"there is no detector format '{name}'", None, f"known are\n{format_table()}"
            )
        try:
            chosen.read(outputs, size)
        except (ValueError, IndexError) as error:
            raise GraphError(
                f"the detector is not of the format '{name}'",
                f"its outputs are {shapes} ({error})",
                f"known are\n{format_table()}",
            ) from error
        return chosen
    for candidate in FORMATS:
        if candidate.matches(outputs, size):
            return candidate
    raise GraphError(
        "the detector's outputs are of no known format",
        f"for an input of {size[0]}x{size[1]} they are {shapes}",
        f"export it in one of these forms, or choose with --detector-format\n{format_table()}",
    )
