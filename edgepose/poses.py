"""What goes in and what comes out: frames and poses, as frozen dataclasses of arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgepose.errors import BoxError, ImageError

__all__ = ["Float32", "Frame", "Poses", "UInt8", "check_boxes", "check_image"]

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Frame:
    """One picture of a source.

    Attributes:
        image: (H, W, 3) uint8, BGR.
        index: Number within its source, from 0; of a live stream, frames skipped included.
        time_s: Seconds since the source's start (files: presentation time; live: arrival time).
        source: Where it came from, without credentials.
    """

    image: UInt8
    index: int
    time_s: float
    source: str


@dataclass(frozen=True)
class Poses:
    """The people of one image.

    Attributes:
        keypoints: (N, K, 2) float32, x and y in image pixels (the centre of pixel i is i).
        scores: (N, K) float32, confidence of each keypoint, in 0..1.
        boxes: (N, 4) float32, x0 y0 x1 y1 of the boxes that the poses were looked for in.
        box_scores: (N,) float32, confidence of each box (1 where it was given).
    """

    keypoints: Float32
    scores: Float32
    boxes: Float32
    box_scores: Float32

    def __post_init__(self) -> None:
        n, k = self.scores.shape if self.scores.ndim == 2 else (-1, -1)
        for name, expected in (
            ("keypoints", (n, k, 2)),
            ("boxes", (n, 4)),
            ("box_scores", (n,)),
        ):
            actual = getattr(self, name).shape
            if actual != expected:
                raise ValueError(f"Poses.{name} has shape {actual}, expected {expected}")

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def pose_scores(self) -> Float32:
        """(N,) mean keypoint confidence times box confidence."""
        if not len(self):
            return np.zeros(0, np.float32)
        means: Float32 = self.scores.mean(1, dtype=np.float32)
        product: Float32 = means * self.box_scores
        return product

    @classmethod
    def empty(cls, num_keypoints: int) -> Poses:
        """Nobody."""
        return cls(
            np.zeros((0, num_keypoints, 2), np.float32),
            np.zeros((0, num_keypoints), np.float32),
            np.zeros((0, 4), np.float32),
            np.zeros(0, np.float32),
        )

    def to_dicts(self) -> list[dict[str, Any]]:
        """One JSON-ready dict a person: ``box`` x0 y0 x1 y1, ``keypoints`` [[x, y, score], …]."""
        rows = np.concatenate([self.keypoints, self.scores[..., None]], axis=-1)  # (N, K, 3)
        return [
            {
                "score": round(float(score), 4),
                "box": [round(float(v), 2) for v in box],
                "box_score": round(float(box_score), 4),
                "keypoints": [[round(float(v), 3) for v in point] for point in person],
            }
            for score, box, box_score, person in zip(
                self.pose_scores, self.boxes, self.box_scores, rows, strict=True
            )
        ]

    def to_coco(self, image_id: int) -> list[dict[str, Any]]:
        """COCO result entries (category 1), with this image's id.

        COCO's pixel grid starts at the corner, so that its coordinates are index coordinates; the
        official evaluator compares them as they are, and so do we.
        """
        rows = np.concatenate([self.keypoints, self.scores[..., None]], axis=-1)  # (N, K, 3)
        return [
            {
                "image_id": image_id,
                "category_id": 1,
                "keypoints": [float(v) for v in person.ravel()],
                "score": float(score),
            }
            for person, score in zip(rows, self.pose_scores, strict=True)
        ]


def check_image(image: Any) -> UInt8:
    """The image as (H, W, 3) uint8 BGR, or an error that says what it is instead.

    Grey and BGRA images are converted; 16-bit ones are scaled down by 257.

    Raises:
        ImageError: No array, no pixels, or a type or shape that is none of the above.
    """
    if not isinstance(image, np.ndarray):
        raise ImageError(
            "an image must be a numpy array",
            f"got {type(image).__name__}",
            "read the file with edgepose.read_image(path)",
        )
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise ImageError("an image must be (H, W), (H, W, 3) or (H, W, 4)", f"got {image.shape}")
    if image.dtype == np.uint16:
        image = np.rint(image / np.float32(257)).astype(np.uint8)
    if image.dtype != np.uint8:
        raise ImageError(
            "an image must be uint8 or uint16",
            f"got {image.dtype}",
            "scale it to 0..255 and convert with .astype('uint8')",
        )
    if image.ndim == 2 or image.shape[2] == 1:
        grey = image.reshape(*image.shape[:2], 1)
        return np.ascontiguousarray(np.broadcast_to(grey, (*image.shape[:2], 3)))
    if image.shape[2] == 4:
        return np.ascontiguousarray(image[..., :3])
    if image.shape[2] != 3:
        raise ImageError("an image must have 1, 3 or 4 channels, last", f"got shape {image.shape}")
    pixels: UInt8 = image
    return pixels


def check_boxes(boxes: Any, image_shape: tuple[int, ...] | None = None) -> Float32:
    """Boxes as (N, 4) float32 x0 y0 x1 y1.

    A box may reach over the border (what lies outside is filled with black), but must overlap the
    image, must be finite and must have an area.

    Args:
        boxes: Anything numpy takes, of shape (N, 4) or (4,).
        image_shape: (H, W, …) of the image, to check that every box overlaps it.

    Raises:
        BoxError: With the index of the first bad box and its values.
    """
    try:
        array = np.asarray(boxes, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise BoxError("boxes must be numbers of shape (N, 4)", str(error)) from error
    if array.size == 0:
        return np.zeros((0, 4), np.float32)
    if array.shape == (4,):
        array = array[None]
    if array.ndim != 2 or array.shape[1] != 4:
        raise BoxError(
            "boxes must have shape (N, 4): x0, y0, x1, y1 in pixels", f"got {array.shape}"
        )
    if image_shape is not None and _all_usable(array, image_shape):
        return array
    _first_bad(array, np.logical_not(np.isfinite(array).all(1)), "is not finite")
    _first_bad(
        array,
        (array[:, 2] <= array[:, 0]) | (array[:, 3] <= array[:, 1]),
        "has no area (x1 must exceed x0 and y1 exceed y0)",
    )
    if image_shape is not None:
        height, width = image_shape[:2]
        outside = (
            (array[:, 2] <= 0)
            | (array[:, 3] <= 0)
            | (array[:, 0] >= width)
            | (array[:, 1] >= height)
        )
        _first_bad(array, outside, f"lies outside the {width}x{height} image")
    return array


def _all_usable(boxes: Float32, image_shape: tuple[int, ...]) -> bool:
    """The rule of :func:`check_boxes` in one pass, for a few boxes in a fraction of its time."""
    height, width = image_shape[:2]
    return all(
        -math.inf < x0 < x1 < math.inf
        and -math.inf < y0 < y1 < math.inf
        and x1 > 0
        and y1 > 0
        and x0 < width
        and y0 < height
        for x0, y0, x1, y1 in boxes.tolist()
    )


def _first_bad(boxes: Float32, bad: npt.ArrayLike, why: str) -> None:
    where = np.flatnonzero(bad)
    if len(where):
        index = int(where[0])
        values = ", ".join(f"{v:g}" for v in boxes[index])
        raise BoxError(f"box {index} [{values}] cannot be used", f"it {why}")
