"""Another precision for a graph: what is asked for, in one value, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import onnx

from edgepose.crops import box_affines, to_input, warp_crops
from edgepose.errors import GraphError, InputError
from edgepose.export.opset import INT8_FP16_OPSET
from edgepose.export.precision.calibration import Calibration, load_calibration
from edgepose.export.precision.fp16 import Kept, to_fp16
from edgepose.export.precision.histogram import Method
from edgepose.export.precision.int8 import Form, Int8, Ranges, to_int8
from edgepose.export.precision.modelopt import modelopt_int8
from edgepose.export.precision.ranges import tensor_ranges
from edgepose.export.precision.sensitivity import Sensitivity, choose, measure, unannotated
from edgepose.parity import FP16, INT8, INT8_RANDOM, ParityLimits, Photo
from edgepose.poses import UInt8
from edgepose.spec import PoseSpec

__all__ = ["PRECISIONS", "Conversion", "Converted", "Precision", "convert"]

Precision = Literal["fp16", "int8", "int8-fp16"]
PRECISIONS: tuple[str, ...] = get_args(Precision)

# Crops in one call: activations of a large net at this batch fit into a GiB.
_BATCH = 8


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """How to change the numbers of a graph.

    Attributes:
        precision: ``fp16``; ``int8``: Q/DQ pairs in an FP32 graph, for onnxruntime or TensorRT
            8.6; ``int8-fp16``: Q/DQ pairs in an FP16 graph, for a strongly typed TensorRT.
        form: Whom the pairs are placed for; see :mod:`edgepose.export.precision.int8`.
        calibration: People to calibrate on: a folder of pictures or one laid out as COCO. INT8
            does not go without; FP16 looks for overflow on the packaged photos without.
        crops: Most of them that are used.
        seed: Which are drawn.
        method: How ranges are taken; the quantiser's default if None.
        percentile: For that method.
        modelopt_python: Interpreter of an environment with NVIDIA ModelOpt, which then quantises in
            edgepose's place; for TensorRT alone.
        sensitivity: Measure what each block costs alone.
        max_ap_drop: Leave the worst blocks in float until the AP on the people kept back from
            calibration drops by no more; AP in 0..100. Implies ``sensitivity``.

    Raises:
        InputError: INT8 without people, or settings that make no sense.
    """

    precision: Precision
    form: Form = "tensorrt"
    calibration: Path | None = None
    crops: int = 512
    seed: int = 0
    method: Method | None = None
    percentile: float = 99.99
    modelopt_python: str | None = None
    sensitivity: bool = False
    max_ap_drop: float | None = None

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise InputError(
                f"there is no precision '{self.precision}'", f"known are {', '.join(PRECISIONS)}"
            )
        if self.quantises and self.calibration is None:
            raise InputError(
                f"{self.precision} needs people to calibrate on",
                "the scales of its activations come from what the network sees at work; there is "
                "no default, since other people than yours give other scales",
                "--calib FOLDER, with 200 to 500 pictures of people or a COCO-format folder",
            )
        if not self.quantises and (self.sensitivity or self.max_ap_drop is not None):
            raise InputError(
                "sensitivity is measured for INT8 alone",
                f"{self.precision} quantises nothing",
                "leave --sensitivity and --max-ap-drop out, or add --precision int8",
            )
        if self.modelopt_python is not None and self.form != "tensorrt":
            raise InputError(
                "NVIDIA ModelOpt quantises for TensorRT alone",
                "onnxruntime's CPU runs such a graph slower than FP32",
                "--precision int8-fp16, or --target trt-8.6; or leave int8.modelopt_python out",
            )
        if self.modelopt_python is not None and (self.sensitivity or self.max_ap_drop is not None):
            raise InputError(
                "sensitivity is measured of edgepose's own quantising",
                "int8.modelopt_python lets NVIDIA ModelOpt quantise",
                "leave one of the two out",
            )
        if self.max_ap_drop is not None and not self.max_ap_drop > 0:
            raise InputError(
                f"--max-ap-drop {self.max_ap_drop:g} cannot be kept",
                "INT8 is never free",
                "give the points of AP (of 100) that it may cost, as --max-ap-drop 1",
            )

    @property
    def label(self) -> str:
        """What file names say: INT8 has two forms, and neither may pass for the other."""
        trt = self.precision == "int8" and self.form == "tensorrt"
        return "int8-trt" if trt else self.precision

    @property
    def quantises(self) -> bool:
        """Whether anything becomes INT8."""
        return self.precision != "fp16"


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What came of it.

    Attributes:
        model: The graph.
        precision: Its precision.
        limits: What its poses are held to.
        kept: Nodes that stay in more digits, and why.
        form: Whom Q/DQ pairs are placed for; None where there are none.
        calibration: What it was calibrated on; None where nobody was asked for.
        sensitivity: What each block costs; None where it was not measured.
    """

    model: onnx.ModelProto
    precision: Precision
    limits: ParityLimits
    kept: tuple[Kept, ...]
    form: Form | None = None
    calibration: dict[str, Any] | None = None
    sensitivity: Sensitivity | None = None

    @property
    def halves(self) -> bool:
        """Whether anything became FP16."""
        return self.precision != "int8"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, without the graph."""
        return {
            "form": self.form,
            "kept": [k.to_dict() for k in self.kept],
            "calibration": self.calibration,
            "sensitivity": None if self.sensitivity is None else self.sensitivity.to_dict(),
        }


def convert(
    model: onnx.ModelProto,
    spec: PoseSpec,
    how: Conversion,
    photos: Sequence[Photo],
    say: Callable[[str], None],
) -> Converted:
    """Give a graph another precision.

    Args:
        model: FP32 graph; it stays as it is.
        spec: Its spec.
        how: What to do.
        photos: People to look for overflow on where ``how`` names none.
        say: Told of each step as it begins.

    Raises:
        InputError: The people to calibrate on cannot be used.
        GraphError: The graph cannot be converted.
    """
    opset = next(int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx"))
    if how.precision == "int8-fp16" and opset < INT8_FP16_OPSET:
        raise GraphError(
            f"a graph of operator set {opset} cannot be {how.precision}",
            f"QuantizeLinear takes FP16 from operator set {INT8_FP16_OPSET} on",
            f"export the model again with --opset {INT8_FP16_OPSET}, or use --precision int8",
        )
    people: Calibration | None = None
    if how.calibration is not None:
        people = load_calibration(how.calibration, spec, limit=how.crops, seed=how.seed)
    crops = _crops(photos, spec) if people is None else people.crops
    kept: tuple[Kept, ...] = ()
    sensitivity: Sensitivity | None = None
    if how.quantises:
        if people is None:
            raise AssertionError("a conversion that quantises names people")
        quantised, sensitivity = _quantised(model, spec, how, people, say)
        model, kept = quantised.model, quantised.left
    if how.precision != "int8":
        say(f"converting to FP16, ranges seen on {len(crops)} people")
        halved = to_fp16(model, tensor_ranges(model, _batches(crops, spec)))
        model, kept = halved.model, kept + halved.kept
    return Converted(
        model=model,
        precision=how.precision,
        limits=_limits(how, trained=bool(spec.provenance.weights_sha256)),
        kept=kept,
        form=how.form if how.quantises else None,
        calibration=None if people is None else people.manifest,
        sensitivity=sensitivity,
    )


def _limits(how: Conversion, *, trained: bool) -> ParityLimits:
    if how.quantises:
        return INT8 if trained else INT8_RANDOM
    return FP16 if trained else FP16.speed_only()


def _quantised(
    model: onnx.ModelProto,
    spec: PoseSpec,
    how: Conversion,
    people: Calibration,
    say: Callable[[str], None],
) -> tuple[Int8, Sensitivity | None]:
    ranges = (
        Ranges() if how.method is None else Ranges(method=how.method, percentile=how.percentile)
    )
    if how.modelopt_python is not None:
        say(f"quantising to INT8 with NVIDIA ModelOpt on {len(people)} people")
        return modelopt_int8(model, people.batches(spec), Path(how.modelopt_python)), None
    sensitivity: Sensitivity | None = None
    if how.sensitivity or how.max_ap_drop is not None:
        if how.max_ap_drop is not None and people.truths is None:
            raise unannotated(how.max_ap_drop)  # now, and not after every block was measured
        say("measuring what each block costs in INT8")
        sensitivity = measure(model, people, spec, form=how.form, ranges=ranges, progress=say)
        if how.max_ap_drop is not None:
            exclude = choose(sensitivity, how.max_ap_drop, progress=say)
            # The very graph that keeps the budget, not one with ranges from more people.
            return sensitivity.calibrated.build(exclude), sensitivity
    say(f"quantising to INT8 on {len(people)} people")
    return to_int8(model, people.batches(spec), form=how.form, ranges=ranges), sensitivity


def _crops(photos: Sequence[Photo], spec: PoseSpec) -> UInt8:
    parts = []
    for photo in photos:
        affines = box_affines(photo.boxes, spec.input_size, spec.padding)
        parts.append(warp_crops(photo.image, affines, spec.input_size))
    return np.concatenate(parts)  # (N, H, W, 3)


def _batches(crops: UInt8, spec: PoseSpec) -> Iterator[npt.NDArray[Any]]:
    for start in range(0, len(crops), _BATCH):
        yield to_input(crops[start : start + _BATCH], spec)
