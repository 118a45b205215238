"""COCO-format annotation files -> one record a person, in the keypoint order of the model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgepose.errors import DatasetError
from edgepose.evaluate.holdout import coco_named, in_holdout, photo_key
from edgepose.poses import Float32
from edgepose.spec import KeypointSet

__all__ = [
    "PersonSet",
    "Record",
    "guard_holdout",
    "guard_packaged_holdout",
    "has_coco_names",
    "load_holdout",
    "packaged_holdout_photos",
    "read_set",
    "split_fold",
]


@dataclass(frozen=True)
class Record:
    """One annotated person.

    Attributes:
        image: The picture's file.
        source: Name of the photo it comes from (the picture itself, unless it is a cut-out).
        box: (4,) x0 y0 x1 y1 in picture pixels.
        joints: (K, 3) x, y, v; v is 0 where the joint is not annotated.
        area: Object area in square pixels, for OKS; where the file has none, 0.53 of the box, as
            mmpose takes it.
    """

    image: Path
    source: str
    box: Float32
    joints: Float32
    area: float


@dataclass(frozen=True)
class PersonSet:
    """One annotation file.

    Attributes:
        name: Name for logs and cards.
        records: Its persons that can be trained on.
        digest: Hash of the annotation file and of how it is read.
        skipped: Annotations left out (other objects, crowds, no joints, boxes without area).
    """

    name: str
    records: tuple[Record, ...]
    digest: str
    skipped: int


def read_set(location: str | Path, keypoints: KeypointSet) -> PersonSet:
    """Read a data set: its annotation file, or a folder that holds one.

    A folder holds ``person_keypoints.json`` beside ``images/``, or is laid out as COCO
    (``annotations/person_keypoints_<split>.json`` beside ``<split>/``).

    Keypoints are matched by the names in the file's person category; what the set lacks has v = 0.

    Raises:
        DatasetError: No annotation file, several, or one that is not COCO keypoints; images that
            are named but absent (the first few are listed).
    """
    file = _annotation_file(Path(location))
    raw = _read_bytes(file)
    try:
        data = json.loads(raw)
        pictures = {int(entry["id"]): entry for entry in data["images"]}
        annotations = data["annotations"]
        order = _joint_order(data, keypoints)
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{file} is not a COCO keypoint file", f"{type(error).__name__}: {error}"
        ) from error
    root = _image_root(file, pictures)
    records = []
    for annotation in annotations:
        if "keypoints" not in annotation:
            continue
        record = _record(annotation, pictures, root, order, len(keypoints), file)
        if record is not None:
            records.append(record)
    if not records:
        raise DatasetError(f"{file} holds no person with keypoints")
    _check_present(records, file)
    digest = hashlib.sha256(raw)
    digest.update(repr((str(root), keypoints.names)).encode())
    return PersonSet(
        name=_set_name(file),
        records=tuple(records),
        digest=digest.hexdigest(),
        skipped=len(annotations) - len(records),
    )


def load_holdout(path: str | Path) -> frozenset[str]:
    """Photo keys that no training may see, from a JSON list of ids or file names.

    Raises:
        DatasetError: The file is absent or no such list.
    """
    try:
        entries = json.loads(_read_bytes(Path(path)))
    except ValueError as error:
        raise DatasetError(f"cannot read the hold-out list {path}", str(error)) from error
    if not isinstance(entries, list) or not all(isinstance(e, (int, str)) for e in entries):
        raise DatasetError(f"{path} is not a JSON list of image ids or file names")
    return frozenset(photo_key(str(entry)) for entry in entries)


def guard_holdout(sets: list[PersonSet], holdout: frozenset[str]) -> None:
    """Refuse to train on the photos of a list.

    Raises:
        DatasetError: With the number of such photos and the first of them.
    """
    for one in sets:
        leaked = sorted({r.source for r in one.records if photo_key(r.source) in holdout})
        if leaked:
            raise _leak(one, leaked, "take these photos out of the annotation file")


def guard_packaged_holdout(sets: list[PersonSet]) -> None:
    """Refuse to train on photos of the edgepose hold-out.

    Only names as COCO gives them count: a set's own running number is no photo of COCO's.

    Raises:
        DatasetError: With the number of such photos and the first of them.
    """
    for one in sets:
        leaked = sorted(packaged_holdout_photos(one.records))
        if leaked:
            raise _leak(
                one,
                leaked,
                "take these photos out of the annotation file; --allow-holdout trains on them "
                "nevertheless, and the weights then say so",
            )


def packaged_holdout_photos(records: Iterable[Record]) -> set[str]:
    """Names of the photos that are the edgepose hold-out's, one for each photo."""
    found = {
        photo_key(record.source): record.source for record in records if in_holdout(record.source)
    }
    return set(found.values())


def has_coco_names(people: PersonSet) -> bool:
    """Whether any photo of the set is named as COCO names its own."""
    return any(coco_named(record.source) for record in people.records)


def _leak(people: PersonSet, photos: list[str], hint: str) -> DatasetError:
    return DatasetError(
        f"the training set '{people.name}' holds photos of the hold-out",
        f"{len(photos)} of them, such as {', '.join(photos[:3])}",
        hint,
    )


def split_fold(records: tuple[Record, ...], share: float, seed: int) -> tuple[list[int], list[int]]:
    """Indices to train on and to validate on, split by photo.

    All persons of a photo fall on one side. Which side depends only on the photo's name and the
    seed, so that adding data never moves a photo across.
    """
    train: list[int] = []
    held: list[int] = []
    for index, record in enumerate(records):
        token = f"{seed}:{photo_key(record.source)}".encode()
        draw = int.from_bytes(hashlib.sha256(token).digest()[:8], "big") / 2**64
        (held if draw < share else train).append(index)
    return train, held


def _annotation_file(location: Path) -> Path:
    if location.is_file():
        return location
    if not location.is_dir():
        raise DatasetError(f"there is no data set at {location}")
    direct = location / "person_keypoints.json"
    if direct.is_file():
        return direct
    found = sorted((location / "annotations").glob("person_keypoints*.json"))
    if len(found) == 1:
        return found[0]
    raise DatasetError(
        f"{location} holds {'several annotation files' if found else 'no annotation file'}",
        ", ".join(f.name for f in found)
        or "looked for person_keypoints.json and annotations/person_keypoints*.json",
        "give the annotation file itself with --data FILE.json",
    )


def _image_root(file: Path, pictures: dict[int, Any]) -> Path:
    """The folder that the file names are relative to: the first candidate that has the first."""
    split = file.stem.removeprefix("person_keypoints").strip("_")
    base = file.parent.parent if file.parent.name == "annotations" else file.parent
    candidates = [base / split, base / "images" / split, base / "images", base, file.parent]
    first = str(next(iter(pictures.values()))["file_name"]) if pictures else ""
    for candidate in candidates:
        if first and (candidate / first).is_file():
            return candidate
    raise DatasetError(
        f"cannot find the images of {file}",
        f"'{first}' is in none of {', '.join(str(c) for c in dict.fromkeys(candidates))}",
    )


def _joint_order(data: dict[str, Any], keypoints: KeypointSet) -> list[int]:
    """For each of the file's joints, its index in the model's set, or -1."""
    persons = [c for c in data.get("categories", ()) if c.get("keypoints")]
    names = persons[0]["keypoints"] if persons else list(keypoints.names)
    index = {name: i for i, name in enumerate(keypoints.names)}
    return [index.get(name, -1) for name in names]


def _record(
    annotation: dict[str, Any],
    pictures: dict[int, Any],
    root: Path,
    order: list[int],
    count: int,
    file: Path,
) -> Record | None:
    """One person, or None where there is nothing to learn from."""
    try:
        values = np.asarray(annotation["keypoints"], np.float32).reshape(-1, 3)
        x, y, width, height = (float(v) for v in annotation["bbox"])
        picture = pictures[int(annotation["image_id"])]
        area = float(annotation.get("area") or width * height * 0.53)
    except (KeyError, ValueError, TypeError) as error:
        raise DatasetError(
            f"{file} has an annotation that cannot be read",
            f"id {annotation.get('id')}: {type(error).__name__} {error}",
        ) from error
    if len(values) != len(order):
        raise DatasetError(
            f"{file} has an annotation that cannot be read",
            f"id {annotation.get('id')} has {len(values)} joints, its category {len(order)}",
        )
    joints = np.zeros((count, 3), np.float32)
    for row, target in zip(values, order, strict=True):
        if target >= 0 and row[2] > 0:
            joints[target] = row
    box = np.array([x, y, x + width, y + height], np.float32)
    usable = np.isfinite(joints).all() and np.isfinite(box).all()
    if annotation.get("iscrowd") or not usable or width < 1 or height < 1:
        return None
    if not joints[:, 2].any():
        return None
    name = str(picture["file_name"])
    return Record(root / name, str(picture.get("source", Path(name).name)), box, joints, area)


def _check_present(records: list[Record], file: Path) -> None:
    images = {record.image for record in records}
    absent = sorted(str(image) for image in images if not image.is_file())
    if absent:
        raise DatasetError(
            f"{len(absent)} of {len(images)} images of {file} are absent",
            ", ".join(absent[:3]) + (" ..." if len(absent) > 3 else ""),
        )


def _set_name(file: Path) -> str:
    if file.stem == "person_keypoints":
        return file.parent.name
    return file.stem.removeprefix("person_keypoints").strip("_") or file.parent.name


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"cannot read {path}", error.strerror or str(error)) from error
