"""PoseSpec: everything needed to use an artefact, travelling inside it.

The spec is written as JSON into the ONNX metadata (key ``edgepose.spec``) and into the sidecar of
an engine, so that preprocessing and decoding belong to the weights and never to the caller.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args

from edgepose.errors import SpecError

__all__ = [
    "COCO_KEYPOINTS",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "METADATA_KEY",
    "RECORD_KEY",
    "SCHEMA",
    "Alignment",
    "DecoderName",
    "DecoderSpec",
    "KeypointSet",
    "Measurement",
    "OutputKind",
    "PoseSpec",
    "Provenance",
]

METADATA_KEY = "edgepose.spec"
# Beside it: how the artefact was made and judged, for people and for `bench`; nothing runs by it.
RECORD_KEY = "edgepose.record"
SCHEMA = 1

OutputKind = Literal["heatmap", "simcc", "keypoints"]
DecoderName = Literal["argmax", "quarter", "dark", "simcc", "none"]
Alignment = Literal["half_pixel", "corner", "unit"]
Layout = Literal["nchw", "nhwc"]
DType = Literal["float32", "float16", "uint8"]
Colour = Literal["rgb", "bgr"]

# In 0..255 units, so that normalisation is one subtraction and one multiplication.
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)

_DECODERS_OF: dict[str, tuple[str, ...]] = {
    "heatmap": ("argmax", "quarter", "dark"),
    "simcc": ("simcc",),
    "keypoints": ("none",),
}


@dataclass(frozen=True, kw_only=True)
class KeypointSet:
    """Names and geometry of the keypoints a model predicts.

    Attributes:
        names: K names, in output order.
        flip_pairs: Index pairs that swap when the image is mirrored.
        skeleton: Index pairs joined by a limb, for drawing.
        sigmas: K per-keypoint standard deviations of OKS (COCO's k_i / 2).
    """

    names: tuple[str, ...]
    flip_pairs: tuple[tuple[int, int], ...]
    skeleton: tuple[tuple[int, int], ...]
    sigmas: tuple[float, ...]

    def __post_init__(self) -> None:
        count = len(self.names)
        if len(self.sigmas) != count:
            raise SpecError(
                "the keypoint set is inconsistent",
                f"{count} names but {len(self.sigmas)} OKS sigmas",
            )
        if any(s <= 0 for s in self.sigmas):
            raise SpecError("the keypoint set is inconsistent", "an OKS sigma is not positive")
        for kind in ("flip_pairs", "skeleton"):
            for pair in getattr(self, kind):
                if len(pair) != 2 or not all(0 <= i < count for i in pair):
                    raise SpecError(
                        "the keypoint set is inconsistent",
                        f"{kind} holds {pair}, but indices run from 0 to {count - 1}",
                    )

    def __len__(self) -> int:
        return len(self.names)

    @property
    def flip_order(self) -> tuple[int, ...]:
        """K indices: position i of a mirrored output holds keypoint ``flip_order[i]``."""
        order = list(range(len(self.names)))
        for a, b in self.flip_pairs:
            order[a], order[b] = b, a
        return tuple(order)


# The 17 COCO person keypoints; sigmas as in pycocotools' Params (k_i / 2).
COCO_KEYPOINTS = KeypointSet(
    names=(
        "nose",
        "left_eye",
        "right_eye",
        "left_ear",
        "right_ear",
        "left_shoulder",
        "right_shoulder",
        "left_elbow",
        "right_elbow",
        "left_wrist",
        "right_wrist",
        "left_hip",
        "right_hip",
        "left_knee",
        "right_knee",
        "left_ankle",
        "right_ankle",
    ),
    flip_pairs=((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)),
    skeleton=(
        (15, 13),
        (13, 11),
        (16, 14),
        (14, 12),
        (11, 12),
        (5, 11),
        (6, 12),
        (5, 6),
        (5, 7),
        (6, 8),
        (7, 9),
        (8, 10),
        (1, 2),
        (0, 1),
        (0, 2),
        (1, 3),
        (2, 4),
        (3, 5),
        (4, 6),
    ),
    sigmas=(
        0.026,
        0.025,
        0.025,
        0.035,
        0.035,
        0.079,
        0.079,
        0.072,
        0.072,
        0.062,
        0.062,
        0.107,
        0.107,
        0.087,
        0.087,
        0.089,
        0.089,
    ),
)


@dataclass(frozen=True, kw_only=True)
class DecoderSpec:
    """How raw outputs become keypoints in crop pixels.

    Attributes:
        name: ``argmax``, ``quarter`` (offset toward the larger neighbour), ``dark`` (Zhang et al.,
            CVPR 2020: smoothed log-heatmap, one Newton step), ``simcc`` (argmax of two vectors) or
            ``none`` (the graph gives keypoints itself).
        alignment: Where cell i of n lies over a crop of N pixels: ``half_pixel``
            (i + .5) N/n - .5, ``corner`` i N/n, ``unit`` i (N-1)/(n-1) (UDP).
        blur_kernel: Odd width of the Gaussian that DARK smooths with, in cells.
        split_ratio: SimCC bins per input pixel.
    """

    name: DecoderName
    alignment: Alignment = "half_pixel"
    blur_kernel: int = 11
    split_ratio: float = 2.0

    def __post_init__(self) -> None:
        _one_of("decoder name", self.name, get_args(DecoderName))
        _one_of("decoder alignment", self.alignment, get_args(Alignment))
        if self.blur_kernel < 1 or self.blur_kernel % 2 == 0:
            raise SpecError(
                "the decoder spec is invalid", f"blur_kernel {self.blur_kernel} must be odd"
            )
        if not self.split_ratio > 0:
            raise SpecError(
                "the decoder spec is invalid", f"split_ratio {self.split_ratio} must be positive"
            )


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One accuracy figure with the protocol it was measured under."""

    ap: float
    ar: float
    protocol: str


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where the weights come from. ``trained_on`` is a sentence for people, with counts.

    Attributes:
        weights_sha256: Digest of the weights, empty when they are fresh (random).
        trained_on: Data, in words. Empty when untrained or unknown.
        holdout_only: True when AP may only be measured on the edgepose hold-out ids, because other
            photos of the usual validation set were trained on.
        measured: Accuracy figures that were really measured.
    """

    weights_sha256: str = ""
    trained_on: str = ""
    holdout_only: bool = False
    measured: tuple[Measurement, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PoseSpec:
    """All that is needed to feed an artefact and to read its outputs.

    Attributes:
        model: Registry name, or any name for a foreign graph.
        input_size: (height, width) of the crop in pixels.
        layout: ``nchw`` or ``nhwc``.
        dtype: Element type of the graph's input.
        colour: Channel order that the graph takes; images are BGR everywhere outside.
        mean: Per channel, in the graph's colour order, 0..255 units. A folded graph has 0.
        std: Per channel, likewise. A folded graph has 1.
        padding: Factor by which a person box is grown after it got the input's aspect ratio.
        output: ``heatmap``, ``simcc`` or ``keypoints`` (decoded in the graph).
        decoder: How to read the outputs.
        keypoints: The keypoint set.
        provenance: Training data and measured accuracy.
        schema: Version of this structure.
    """

    model: str
    input_size: tuple[int, int]
    output: OutputKind
    decoder: DecoderSpec
    keypoints: KeypointSet = COCO_KEYPOINTS
    layout: Layout = "nchw"
    dtype: DType = "float32"
    colour: Colour = "rgb"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    padding: float = 1.25
    provenance: Provenance = field(default_factory=Provenance)
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise SpecError(
                "the spec cannot be read",
                f"it has schema {self.schema}, this edgepose reads schema {SCHEMA}",
                "export the model again with this version of edgepose",
            )
        if len(self.input_size) != 2 or not all(
            isinstance(v, int) and v > 0 for v in self.input_size
        ):
            raise SpecError("the spec is invalid", f"input_size {self.input_size} is not (H, W)")
        _one_of("output", self.output, get_args(OutputKind))
        _one_of("layout", self.layout, get_args(Layout))
        _one_of("dtype", self.dtype, get_args(DType))
        _one_of("colour", self.colour, get_args(Colour))
        _one_of(f"decoder of a {self.output} model", self.decoder.name, _DECODERS_OF[self.output])
        if len(self.mean) != 3 or len(self.std) != 3 or any(s <= 0 for s in self.std):
            raise SpecError("the spec is invalid", f"mean {self.mean}, std {self.std}")
        if not 0.5 <= self.padding <= 4:
            raise SpecError("the spec is invalid", f"padding {self.padding} is not in 0.5..4")

    def with_provenance(self, **changes: Any) -> PoseSpec:
        """A copy with some provenance fields replaced."""
        return replace(self, provenance=replace(self.provenance, **changes))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, in field order."""
        data: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return data

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> PoseSpec:
        """Read what :meth:`to_json` wrote.

        Raises:
            SpecError: The text is no JSON, lacks a field, has an unknown one or a bad value.
        """
        try:
            data = json.loads(text)
        except (ValueError, UnicodeDecodeError) as error:
            raise SpecError("the spec cannot be read", f"it is not JSON ({error})") from error
        return cls.from_dict(data)

    @classmethod
    def from_dict(cls, data: Any) -> PoseSpec:
        """Build a spec from plain JSON types, checking every field. See :meth:`from_json`."""
        try:
            values = _checked(cls, data)
            for name, kind in (("decoder", DecoderSpec), ("keypoints", KeypointSet)):
                if name in values:
                    values[name] = kind(**_checked(kind, values[name]))
            if "provenance" in values:
                inner = _checked(Provenance, values["provenance"])
                inner["measured"] = tuple(
                    Measurement(**_checked(Measurement, m)) for m in inner.get("measured", ())
                )
                values["provenance"] = Provenance(**inner)
            return cls(**values)
        except (TypeError, ValueError) as error:  # a value of another type than its field's
            raise SpecError("the spec is invalid", str(error)) from error


def _one_of(what: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise SpecError("the spec is invalid", f"{what} is {value!r}, not one of {allowed}")


def _checked(kind: type, data: Any) -> dict[str, Any]:
    """``data`` as keyword arguments of ``kind``; JSON lists become tuples."""
    if not isinstance(data, dict):
        raise SpecError("the spec is invalid", f"{kind.__name__} is not an object")
    known = {f.name for f in fields(kind)}
    unknown = sorted(set(data) - known)
    if unknown:
        raise SpecError("the spec is invalid", f"unknown fields {unknown} in {kind.__name__}")
    required = {
        f.name
        for f in fields(kind)
        if f.default is f.default_factory  # both are MISSING: no default of either sort
    }
    missing = sorted(required - set(data))
    if missing:
        raise SpecError("the spec is invalid", f"{kind.__name__} lacks {missing}")
    return {name: _tuples(value) for name, value in data.items()}


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
