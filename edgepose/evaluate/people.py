"""Whom to look for: boxes in photos, whoever drew them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgepose.poses import Float32

__all__ = ["People", "Picture", "count_of_photos", "numbered_within"]

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Picture:
    """A photo.

    Attributes:
        id: Its number in the data set.
        path: The file.
        size: (width, height) that was annotated, or None where the data set does not say.
    """

    id: int
    path: Path
    size: tuple[int, int] | None


@dataclass(frozen=True)
class People:
    """Boxes in photos, those of a photo next to each other, photos in the order of their ids.

    Attributes:
        pictures: The photos that hold one, by ascending id.
        image_ids: (N,) the photo of each box, ascending.
        numbers: (N,) which of its photo's boxes it is, as the file lists them; together with
            ``image_ids`` it names a person whatever part of the data set is looked at.
        boxes: (N, 4) x0 y0 x1 y1 in pixels.
        box_scores: (N,) confidence in each box.
        source: Who drew the boxes, in words.
    """

    pictures: tuple[Picture, ...]
    image_ids: Int64
    numbers: Int64
    boxes: Float32
    box_scores: Float64
    source: str

    def __post_init__(self) -> None:
        count = len(self.image_ids)
        for name, expected in (
            ("numbers", (count,)),
            ("boxes", (count, 4)),
            ("box_scores", (count,)),
        ):
            actual = getattr(self, name).shape
            if actual != expected:
                raise ValueError(f"People.{name} has shape {actual}, expected {expected}")
        if (np.diff(self.image_ids) < 0).any():
            raise ValueError("People.image_ids is not ascending")

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def sha256(self) -> str:
        """Digest of who is looked for, and where."""
        digest = hashlib.sha256("\n".join(p.path.name for p in self.pictures).encode())
        for column in (self.image_ids, self.numbers, self.boxes, self.box_scores):
            digest.update(np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()


def numbered_within(image_ids: Int64) -> Int64:
    """(N,) how many earlier entries have the same id.

    >>> numbered_within(np.array([7, 3, 7, 7])).tolist()
    [0, 0, 1, 2]
    """
    order = np.argsort(image_ids, kind="stable")
    ordered = image_ids[order]
    first = np.searchsorted(ordered, ordered, side="left")
    numbers = np.empty(len(image_ids), np.int64)
    numbers[order] = np.arange(len(image_ids)) - first
    return numbers


def count_of_photos(count: int) -> str:
    """``1 photo``, ``2 photos``."""
    return "1 photo" if count == 1 else f"{count} photos"
