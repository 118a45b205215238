"""A folder of photos with COCO keypoint annotations, read for measuring."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgepose.errors import DatasetError
from edgepose.evaluate.metrics import GroundTruth
from edgepose.spec import COCO_KEYPOINTS, KeypointSet

__all__ = ["CocoImage", "CocoKeypoints"]


@dataclass(frozen=True)
class CocoImage:
    """One photo.

    Attributes:
        id: Its id in the annotation file.
        path: The picture.
        photo: Name of the photo it was cut from (field ``source``), or its own file name.
        size: (width, height) that was annotated.
    """

    id: int
    path: Path
    photo: str
    size: tuple[int, int]


@dataclass(frozen=True)
class CocoKeypoints:
    """Photos, in the order of their ids, and everyone annotated in them.

    Attributes:
        name: The split, e.g. ``val2017``, or the folder's name.
        images: The photos that hold an annotated person.
        truth: The annotations of those photos.
        keypoints: The keypoint set that the columns of ``truth.keypoints`` follow.
        sha256: Digest of the annotation file.
        limited: How many photos :meth:`first` left, or None where it left all.
        empty: The other photos, in which nobody is annotated; a detector may find somebody there.
            Nothing needs their files until somebody does.
    """

    name: str
    images: tuple[CocoImage, ...]
    truth: GroundTruth
    keypoints: KeypointSet
    sha256: str
    limited: int | None = None
    empty: tuple[CocoImage, ...] = ()

    @property
    def persons(self) -> int:
        """Number of persons that count (annotated joints, no crowd)."""
        return int(self.truth.scored.sum())

    @classmethod
    def load(cls, folder: str | Path, keypoints: KeypointSet = COCO_KEYPOINTS) -> CocoKeypoints:
        """Read a folder.

        Args:
            folder: ``annotations/person_keypoints_SPLIT.json`` beside ``SPLIT/`` (as COCO comes),
                or ``person_keypoints.json`` beside ``images/``.
            keypoints: The set that the annotations must be in.

        Raises:
            DatasetError: The folder is laid out otherwise, the file is no COCO keypoint file or
                has other joints, photos are absent, or nobody is annotated.
        """
        file = _annotation_file(Path(folder))
        try:
            raw = file.read_bytes()
        except OSError as error:
            raise DatasetError(f"cannot read {file}", error.strerror or str(error)) from error
        try:
            data = json.loads(raw)
            categories = _person_categories(data, keypoints, file)
            kept = [a for a in data["annotations"] if a.get("category_id", 1) in categories]
            truth = _ground_truth(kept, len(keypoints))
            entries = sorted(data["images"], key=lambda entry: int(entry["id"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DatasetError(
                f"{file} is not a COCO keypoint file", f"{type(error).__name__}: {error}"
            ) from error
        if not truth.scored.any():
            raise DatasetError(f"{file} annotates nobody", "no annotation has a visible joint")
        used = {int(i) for i in truth.image_ids}
        unknown = used - {int(entry["id"]) for entry in entries}
        if unknown:
            raise DatasetError(
                f"{file} is inconsistent",
                f"annotations name image {min(unknown)}, which is not in its list of images",
            )
        every = _images(file, entries)
        images = tuple(image for image in every if image.id in used)
        _check_present(images, file)
        return cls(
            _split_name(file),
            images,
            truth,
            keypoints,
            hashlib.sha256(raw).hexdigest(),
            empty=tuple(image for image in every if image.id not in used),
        )

    def where(self, keep: Callable[[CocoImage], bool]) -> CocoKeypoints:
        """The part of the set whose photos ``keep`` accepts."""
        images = tuple(image for image in self.images if keep(image))
        chosen = np.isin(self.truth.image_ids, [image.id for image in images])
        empty = tuple(image for image in self.empty if keep(image))
        return replace(self, images=images, truth=self.truth.take(chosen), empty=empty)

    def first(self, count: int) -> CocoKeypoints:
        """The first ``count`` photos that hold an annotated person, for a quick look."""
        if count >= len(self.images):
            return self
        ids = {image.id for image in self.images[:count]}
        return replace(self.where(lambda image: image.id in ids), limited=len(ids))


def _annotation_file(folder: Path) -> Path:
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}")
    direct = folder / "person_keypoints.json"
    if direct.is_file():
        return direct
    found = sorted((folder / "annotations").glob("person_keypoints*.json"))
    # A full COCO download has train and val side by side: the one whose photos are there is meant.
    present = [f for f in found if (folder / _split_name(f)).is_dir()] if len(found) > 1 else found
    if len(present) == 1:
        return present[0]
    raise DatasetError(
        f"{folder} holds {'several annotation files' if found else 'no annotation file'}",
        ", ".join(f.name for f in present or found)
        or "looked for person_keypoints.json and annotations/person_keypoints*.json",
        "give a folder with one person_keypoints_SPLIT.json and the photos in SPLIT/",
    )


def _split_name(file: Path) -> str:
    split = file.stem.removeprefix("person_keypoints").strip("_")
    return split or file.resolve().parent.name


def _image_folder(file: Path, entries: list[dict[str, Any]]) -> Path:
    base = file.parent.parent if file.parent.name == "annotations" else file.parent
    split = _split_name(file)
    candidates = [base / split, base / "images" / split, base / "images", base]
    names = [str(entry["file_name"]) for entry in entries]
    for candidate in candidates:
        if any((candidate / name).is_file() for name in names[:20]):
            return candidate
    raise DatasetError(
        f"cannot find the photos of {file}",
        f"'{names[0]}' is in none of {', '.join(str(c) for c in candidates)}",
    )


def _images(file: Path, entries: list[dict[str, Any]]) -> tuple[CocoImage, ...]:
    root = _image_folder(file, entries)
    try:
        return tuple(
            CocoImage(
                id=int(entry["id"]),
                path=root / entry["file_name"],
                photo=str(entry.get("source", Path(entry["file_name"]).name)),
                size=(int(entry["width"]), int(entry["height"])),
            )
            for entry in entries
        )
    except KeyError as error:
        raise DatasetError(f"an image of {file} lacks the field {error}") from error


def _person_categories(data: dict[str, Any], keypoints: KeypointSet, file: Path) -> set[int]:
    """Ids of the categories that have joints; their names must be the model's, in its order."""
    found = set()
    for category in data.get("categories", ()):
        if not category.get("keypoints"):
            continue
        names = tuple(category["keypoints"])
        if names != keypoints.names:
            raise DatasetError(
                f"{file} has other keypoints than the model",
                f"annotated are {len(names)} ({', '.join(names[:3])}, ...), the model gives "
                f"{len(keypoints)} ({', '.join(keypoints.names[:3])}, ...)",
            )
        found.add(int(category["id"]))
    if not found:
        raise DatasetError(f"{file} is not a COCO keypoint file", "no category names its keypoints")
    return found


def _ground_truth(annotations: list[dict[str, Any]], joints: int) -> GroundTruth:
    count = len(annotations)
    keypoints = np.asarray([a["keypoints"] for a in annotations], np.float64)
    sizes = np.asarray([a["bbox"] for a in annotations], np.float64).reshape(count, 4)
    sizes[:, 2:] += sizes[:, :2]
    return GroundTruth(
        np.asarray([a["image_id"] for a in annotations], np.int64),
        keypoints.reshape(count, joints, 3),
        sizes,
        np.asarray([a["area"] for a in annotations], np.float64),
        np.asarray([bool(a.get("iscrowd", 0)) for a in annotations], np.bool_),
    )


def _check_present(images: tuple[CocoImage, ...], file: Path) -> None:
    absent = [image.path for image in images if not image.path.is_file()]
    if absent:
        raise DatasetError(
            f"{len(absent)} of {len(images)} photos of {file} are absent",
            ", ".join(str(path) for path in absent[:3]) + (", ..." if len(absent) > 3 else ""),
        )
