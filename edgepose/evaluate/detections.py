"""Boxes of a person detector: COCO's results format.

``[{"image_id": 785, "category_id": 1, "bbox": [x, y, width, height], "score": 0.98}, ...]``; a
category other than 1 is no person, a row without a category is one.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgepose.errors import DatasetError
from edgepose.evaluate.dataset import CocoKeypoints
from edgepose.evaluate.people import People, Picture, numbered_within

__all__ = ["Detections", "check_known", "detected_people", "load_detections"]

_PERSON = 1
_FORM = 'give [{"image_id": 785, "category_id": 1, "bbox": [x, y, w, h], "score": 0.98}, ...]'


@dataclass(frozen=True)
class Detections:
    """Person boxes of a file, in its order.

    Attributes:
        name: The file's name.
        image_ids: (N,) photos.
        boxes: (N, 4) x0 y0 x1 y1.
        scores: (N,) confidences.
        sha256: Digest of the file.
    """

    name: str
    image_ids: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]
    sha256: str

    def __len__(self) -> int:
        return len(self.image_ids)


def load_detections(path: str | Path) -> Detections:
    """Read a file of detections.

    Raises:
        DatasetError: Missing, no JSON, of another form, or a row without a score, with a number
            that is not finite, or with a box without area. No person in it at all.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"cannot read {path}", error.strerror or str(error)) from error
    try:
        data = json.loads(raw)
    except ValueError as error:
        raise DatasetError(f"cannot read {path}", f"it is not JSON ({error})", _FORM) from error
    if not isinstance(data, list):
        raise DatasetError(
            f"{path} is no list of detections", f"it holds a {type(data).__name__}", _FORM
        )
    rows = [
        _row(path, index, entry)
        for index, entry in enumerate(data)
        if not isinstance(entry, dict) or entry.get("category_id", _PERSON) == _PERSON
    ]
    if not rows:
        raise DatasetError(
            f"{path} detects no person", f"{len(data)} rows, none of category {_PERSON}", _FORM
        )
    values = np.array([row[1:] for row in rows], np.float64)  # (N, 5)
    return Detections(
        path.name,
        np.array([row[0] for row in rows], np.int64),
        values[:, :4],
        values[:, 4],
        hashlib.sha256(raw).hexdigest(),
    )


def check_known(detections: Detections, dataset: CocoKeypoints) -> None:
    """Refuse detections in photos that the annotation file does not list.

    Args:
        detections: As read.
        dataset: As read: before any part was taken of it.

    Raises:
        DatasetError: With some of the ids on both sides.
    """
    known = np.array([image.id for image in (*dataset.images, *dataset.empty)])
    foreign = np.setdiff1d(detections.image_ids, known)
    if len(foreign):
        raise DatasetError(
            f"{detections.name} is not of the photos of {dataset.name}",
            f"{len(foreign)} of its {len(np.unique(detections.image_ids))} image ids are not in "
            f"the annotations, such as {_examples(foreign)}; those have {_examples(known)}",
            "give the detections of these photos, with COCO's image ids",
        )


def detected_people(
    detections: Detections, dataset: CocoKeypoints, threshold: float = 0.0
) -> People:
    """The boxes in the photos of a data set (or of what was taken of it).

    Args:
        detections: Of these photos and any others.
        dataset: The photos to look at, those in which nobody is annotated included.
        threshold: Boxes with a lower score are dropped.

    Raises:
        DatasetError: None is left, or a photo they are in is absent.
    """
    numbers = numbered_within(detections.image_ids)
    photos = {image.id: image for image in (*dataset.images, *dataset.empty)}
    here = np.isin(detections.image_ids, list(photos)) & (detections.scores >= threshold)
    rows = np.flatnonzero(here)
    rows = rows[np.argsort(detections.image_ids[rows], kind="stable")]
    if not len(rows):
        raise DatasetError(
            f"{detections.name} has no box for the photos that are measured on",
            f"{len(detections)} boxes, none in these {len(photos)} photos"
            f" with a score of {threshold:g} or more",
        )
    used = [photos[int(i)] for i in np.unique(detections.image_ids[rows])]
    absent = [image.path for image in used if not image.path.is_file()]
    if absent:
        raise DatasetError(
            f"{len(absent)} of {len(used)} photos that {detections.name} has boxes for are absent",
            ", ".join(str(path) for path in absent[:3]) + (", ..." if len(absent) > 3 else ""),
        )
    return People(
        tuple(Picture(image.id, image.path, image.size) for image in used),
        detections.image_ids[rows],
        numbers[rows],
        detections.boxes[rows].astype(np.float32),
        detections.scores[rows],
        f"detections of {detections.name}",
    )


def _row(path: Path, index: int, entry: Any) -> tuple[int, float, float, float, float, float]:
    """Image id, x0, y0, x1, y1, score."""
    try:
        x, y, width, height = (float(v) for v in entry["bbox"])
        image, score = int(entry["image_id"]), float(entry["score"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DatasetError(
            f"{path} is no list of detections",
            f"row {index}: {type(error).__name__}: {error}",
            _FORM,
        ) from error
    if not all(math.isfinite(v) for v in (x, y, width, height, score)):
        raise DatasetError(f"{path} cannot be used", f"row {index} is not finite: {entry}")
    if np.float32(x + width) <= np.float32(x) or np.float32(y + height) <= np.float32(y):
        raise DatasetError(
            f"{path} cannot be used",
            f"row {index} has a box without area: width {width:g}, height {height:g}",
            "bbox is [x, y, width, height], not two corners; leave out empty boxes",
        )
    return image, x, y, x + width, y + height, score


def _examples(ids: npt.NDArray[np.int64]) -> str:
    some = ", ".join(str(i) for i in ids[:3])
    return some + (", ..." if len(ids) > 3 else "")
