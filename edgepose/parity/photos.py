"""The real people that an artefact is judged on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgepose.errors import BoxError, InputError
from edgepose.evaluate import CocoKeypoints
from edgepose.images import IMAGE_SUFFIXES, read_image
from edgepose.poses import Float32, UInt8, check_boxes
from edgepose.samples import load_samples

__all__ = [
    "MAX_PEOPLE",
    "Photo",
    "folder_photos",
    "has_annotations",
    "listed_pictures",
    "sample_photos",
]

# More people sharpen the percentiles but slowly, and a large net takes a second for each.
MAX_PEOPLE = 64

_BOXES = "boxes.json"
_COCO = "person_keypoints.json"


@dataclass(frozen=True)
class Photo:
    """A picture and the people in it.

    Attributes:
        name: File name.
        image: (H, W, 3) uint8 BGR.
        boxes: (N, 4) x0 y0 x1 y1, N > 0.
    """

    name: str
    image: UInt8
    boxes: Float32


def sample_photos() -> list[Photo]:
    """The packaged photographs."""
    return [Photo(s.name, s.image, s.boxes) for s in load_samples()]


def folder_photos(folder: str | Path, people: int = MAX_PEOPLE) -> list[Photo]:
    """Photos of a folder, in the order of their names, until enough people are in them.

    The boxes come from ``boxes.json`` (``{"photo.jpg": [[x0, y0, x1, y1], ...]}``) where there is
    one, from COCO annotations where the folder is laid out as COCO comes (or holds
    ``person_keypoints.json`` beside ``images/``), else each picture is taken whole as one person.

    Args:
        folder: Where to look; subfolders are not searched.
        people: When to stop.

    Raises:
        InputError: No such folder, no pictures, or boxes for none of them.
        ImageError: A picture is damaged.
        BoxError: A box is not finite, has no area or lies outside its picture.
    """
    folder = Path(folder)
    pictures = _annotated(folder) if has_annotations(folder) else listed_pictures(folder)
    photos: list[Photo] = []
    found = 0
    for path, boxes in pictures:
        if found >= people:
            break
        image = read_image(path)
        if boxes is None:
            boxes = np.array([[0, 0, image.shape[1], image.shape[0]]], np.float32)
        photos.append(Photo(path.name, image, _inside(path, boxes, image)[: people - found]))
        found += len(photos[-1].boxes)
    return photos


def has_annotations(folder: Path) -> bool:
    """Whether a folder is laid out as COCO comes, or holds ``person_keypoints.json``."""
    return (folder / _COCO).is_file() or (folder / "annotations").is_dir()


def listed_pictures(folder: Path, option: str = "--images") -> list[tuple[Path, Float32 | None]]:
    """Pictures of a folder with somebody in them, and their boxes (None: the whole picture).

    Args:
        folder: Where to look.
        option: Who asks, for messages.

    Raises:
        InputError: No such folder, no pictures, or boxes for none of them.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}", hint=f"{option} takes a folder of photos")
    names = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    if not names:
        raise InputError(
            f"{folder} holds no picture", f"looked for {', '.join(sorted(IMAGE_SUFFIXES))}"
        )
    if not (folder / _BOXES).is_file():
        return [(path, None) for path in names]
    boxes = _read_boxes(folder / _BOXES)
    chosen: list[tuple[Path, Float32 | None]] = [
        (path, boxes[path.name]) for path in names if len(boxes.get(path.name, ()))
    ]
    if not chosen:
        raise InputError(
            f"{folder / _BOXES} has boxes for none of the pictures beside it",
            f"it names {', '.join(list(boxes)[:3]) or 'nothing'}; there are "
            f"{', '.join(p.name for p in names[:3])}",
        )
    return chosen


def _annotated(folder: Path) -> list[tuple[Path, Float32 | None]]:
    data = CocoKeypoints.load(folder)
    return [
        (image.path, data.truth.boxes[rows])
        for image in data.images
        if (rows := (data.truth.image_ids == image.id) & data.truth.scored).any()
    ]


def _read_boxes(path: Path) -> dict[str, Float32]:
    try:
        data = json.loads(path.read_text())
        return {str(name): check_boxes(boxes) for name, boxes in data.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(
            f"cannot read {path}",
            f"{type(error).__name__}: {error}",
            'give {"photo.jpg": [[x0, y0, x1, y1], ...]}',
        ) from error


def _inside(path: Path, boxes: Float32, image: UInt8) -> Float32:
    try:
        return check_boxes(boxes, image.shape)
    except BoxError as error:
        raise BoxError(f"a box of {path} does not fit it", str(error)) from error
