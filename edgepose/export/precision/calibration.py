"""The people that an INT8 graph takes its ranges from.

What the graph will see at run time is what it has to be calibrated on: crops of persons, cut and
normalised as the estimator does it. There is no default set. The photos of the edgepose hold-out
are refused, for the accuracy of the artefact is measured on them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from edgepose.crops import box_affines, to_input, warp_crops
from edgepose.errors import BoxError, DatasetError
from edgepose.evaluate import CocoKeypoints, GroundTruth
from edgepose.evaluate.holdout import HOLDOUT_NAME, in_holdout, photo_key
from edgepose.images import read_image
from edgepose.parity.photos import Photo, has_annotations, listed_pictures
from edgepose.poses import Float32, UInt8, check_boxes
from edgepose.spec import KeypointSet, PoseSpec

__all__ = ["MIN_CROPS", "Calibration", "Picture", "load_calibration"]

MIN_CROPS = 32
_WANTED = "200 to 500"


@dataclass(frozen=True)
class Picture:
    """A file with people in it.

    Attributes:
        path: The file.
        photo: Name of the photo it was cut from; several may be of one.
        upright: Whether a turning mark in it counts; what COCO annotates is the pixels as stored.
        size: (width, height) that was annotated, if so.
    """

    path: Path
    photo: str
    upright: bool
    size: tuple[int, int] | None = None

    @property
    def source(self) -> str:
        """What identifies the photo across naming habits."""
        return photo_key(self.photo)

    def read(self) -> UInt8:
        """Its pixels. Raises ImageError where it is damaged, DatasetError where it is another."""
        image = read_image(self.path, upright=self.upright)
        height, width = image.shape[:2]
        if self.size is not None and (width, height) != self.size:
            raise DatasetError(
                f"{self.path} is not the picture that was annotated",
                f"it is {width}x{height}, annotated were {self.size[0]}x{self.size[1]} pixels",
            )
        return image


@dataclass(frozen=True)
class Calibration:
    """People, in an order that mixes the photos.

    Attributes:
        crops: (N, H, W, 3) uint8 BGR, as the estimator cuts them.
        affines: (N, 2, 3) from the picture to the crop.
        boxes: (N, 4) x0 y0 x1 y1 in picture pixels.
        pictures: (N,) the file that each is in; people of one file stand together.
        truths: Their annotations, row by row as the crops; None where there are none.
        manifest: What makes the same choice again, JSON-ready.
    """

    crops: UInt8
    affines: npt.NDArray[np.float64]
    boxes: Float32
    pictures: tuple[Picture, ...]
    truths: GroundTruth | None
    manifest: dict[str, Any]

    def __len__(self) -> int:
        return len(self.crops)

    @property
    def photos(self) -> Sequence[Photo]:
        """The pictures with the chosen people, read when asked for."""
        return _LazyPhotos(
            [(p, self.boxes[rows]) for p, rows in _rows_by_picture(self.pictures).items()]
        )

    def batches(self, spec: PoseSpec, size: int = 8) -> Iterable[npt.NDArray[Any]]:
        """All crops, ``size`` at a time, as the graph of that spec takes them; any number of times.

        Args:
            spec: Of the graph.
            size: People in one batch. Eight, through a large net, keep within a GiB.
        """
        return _Batches(self.crops, spec, size)

    def halves(self) -> tuple[Calibration, Calibration]:
        """To calibrate on, and to measure on: no photo is in both.

        Raises:
            DatasetError: All people are from one photo.
        """
        sources = [picture.source for picture in self.pictures]
        order = list(dict.fromkeys(sources))
        if len(order) < 2:
            raise DatasetError(
                "these people cannot be split into a calibrating and a measuring half",
                "they are all from one photo",
                "give people from many photos",
            )
        # Every other photo goes to one side, until it has half of the people.
        counts = {name: sources.count(name) for name in order}
        first: set[str] = set()
        for name in order[::2] + order[1::2]:
            if sum(counts[n] for n in first) + counts[name] <= (len(self) + 1) // 2:
                first.add(name)
        first = first or {order[0]}
        side = np.array([name in first for name in sources])
        return self._take(side), self._take(~side)

    def first(self, count: int) -> Calibration:
        """The first people, all of them where there are fewer."""
        return self._take(np.arange(len(self)) < count)

    def _take(self, chosen: npt.NDArray[np.bool_]) -> Calibration:
        return replace(
            self,
            crops=self.crops[chosen],
            affines=self.affines[chosen],
            boxes=self.boxes[chosen],
            pictures=tuple(p for p, kept in zip(self.pictures, chosen, strict=True) if kept),
            truths=None if self.truths is None else self.truths.take(chosen),
        )


@dataclass(frozen=True)
class _People:
    """All people of a folder: picture and box of each (None: the whole picture)."""

    layout: str
    pictures: list[Picture]
    boxes: list[Float32 | None]
    truth: GroundTruth | None

    def __len__(self) -> int:
        return len(self.boxes)

    def take(self, rows: list[int]) -> _People:
        return _People(
            self.layout,
            [self.pictures[row] for row in rows],
            [self.boxes[row] for row in rows],
            None if self.truth is None else self.truth.take(np.array(rows)),
        )


def load_calibration(
    path: str | Path, spec: PoseSpec, *, limit: int = 512, seed: int = 0
) -> Calibration:
    """A sample of a folder's people, spread over its photos.

    First one person of each photo, then a second one, and so on, in an order that the seed draws.

    Args:
        path: A folder laid out as COCO comes (or ``person_keypoints.json`` beside ``images/``), or
            of pictures: with ``boxes.json`` (``{"photo.jpg": [[x0, y0, x1, y1], ...]}``), else
            each picture is one person.
        spec: Of the graph to calibrate; says how crops are cut.
        limit: People to take at most.
        seed: Of the draw.

    Raises:
        DatasetError: No people, fewer than 32, or photos of the edgepose hold-out among them;
            annotations that do not fit the pictures or the model.
        InputError: No such folder, or no picture in it.
        ImageError: A picture is damaged.
        BoxError: A box has no area, or lies outside its picture.
    """
    folder = Path(path)
    if limit < MIN_CROPS:
        raise _too_few(f"--calib was limited to {limit} people")
    people = _find(folder, spec.keypoints)
    _refuse_holdout(folder, people.pictures)
    if len(people) < MIN_CROPS:
        count = len(people)
        raise _too_few(f"{folder} holds {count} {'person' if count == 1 else 'people'}")
    chosen = people.take(_drawn(people, limit, seed))
    crops, affines, boxes, digest = _cut(chosen, spec)
    return Calibration(
        crops=crops,
        affines=affines,
        boxes=boxes,
        pictures=tuple(chosen.pictures),
        truths=chosen.truth,
        manifest={
            "source": folder.resolve().name,
            "layout": people.layout,
            "people": len(chosen),
            "of": len(people),
            "limit": limit,
            "seed": seed,
            "input_size": list(spec.input_size),
            "padding": spec.padding,
            "pictures": [picture.path.name for picture in dict.fromkeys(chosen.pictures)],
            "sha256": digest,
        },
    )


def _find(folder: Path, keypoints: KeypointSet) -> _People:
    try:
        if has_annotations(folder):
            return _annotated(folder, keypoints)
        people = _People("whole pictures", [], [], None)
        for file, boxes in listed_pictures(folder, "--calib"):
            picture = Picture(file, file.name, upright=True)
            if boxes is not None:
                people = replace(people, layout="boxes.json")
            people.pictures.extend([picture] * (1 if boxes is None else len(boxes)))
            people.boxes.extend([None] if boxes is None else boxes)
    except OSError as error:
        raise DatasetError(f"cannot read {folder}", error.strerror or str(error)) from error
    return people


def _annotated(folder: Path, keypoints: KeypointSet) -> _People:
    data = CocoKeypoints.load(folder, keypoints)
    corners = data.truth.boxes
    has_area = (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])
    truth = data.truth.take(data.truth.scored & has_area)
    pictures = {i.id: Picture(i.path, i.photo, upright=False, size=i.size) for i in data.images}
    return _People(
        layout="COCO",
        pictures=[pictures[int(image)] for image in truth.image_ids],
        boxes=list(truth.boxes.astype(np.float32)),
        truth=truth,
    )


def _refuse_holdout(folder: Path, pictures: list[Picture]) -> None:
    """By the names that COCO gives; a set's own running number is no photo of COCO's."""
    leaked = sorted({p.photo for p in pictures if in_holdout(p.photo)})
    if leaked:
        raise DatasetError(
            f"{folder} holds photos of {HOLDOUT_NAME}",
            f"{len(leaked)} of them, such as {', '.join(leaked[:3])}; the accuracy of the artefact "
            "is measured on those, so that it must not be calibrated on them",
            "take these photos out, or calibrate on another set, such as COCO train2017",
        )


def _too_few(found: str) -> DatasetError:
    return DatasetError(
        "too few people to calibrate on",
        f"{found}; the ranges of a graph are not known from fewer than {MIN_CROPS}",
        f"give --calib a folder with {_WANTED} people, as varied as those it will see",
    )


def _drawn(people: _People, limit: int, seed: int) -> list[int]:
    """Rows of the people to take, those of one picture together."""
    draw = np.random.default_rng(seed).random(len(people))
    turn: dict[str, int] = {}
    order: list[tuple[int, int, int]] = []
    for row in np.argsort(draw, kind="stable"):
        photo = people.pictures[row].source
        order.append((turn.setdefault(photo, 0), len(order), int(row)))
        turn[photo] += 1
    chosen = [row for _, _, row in sorted(order)[:limit]]
    together: dict[Picture, list[int]] = {}
    for row in chosen:
        together.setdefault(people.pictures[row], []).append(row)
    return [row for rows in together.values() for row in rows]


def _rows_by_picture(pictures: Sequence[Picture]) -> dict[Picture, list[int]]:
    rows: dict[Picture, list[int]] = {}
    for row, picture in enumerate(pictures):
        rows.setdefault(picture, []).append(row)
    return rows


def _cut(people: _People, spec: PoseSpec) -> tuple[UInt8, npt.NDArray[np.float64], Float32, str]:
    """Crops, affines, boxes, and a digest of all pictures and boxes that went into them."""
    height, width = spec.input_size
    crops = np.empty((len(people), height, width, 3), np.uint8)
    affines = np.empty((len(people), 2, 3))
    boxes = np.empty((len(people), 4), np.float32)
    digest = hashlib.sha256()
    for picture, rows in _rows_by_picture(people.pictures).items():
        image = picture.read()
        boxes[rows] = _inside(picture, [people.boxes[row] for row in rows], image)
        affines[rows] = box_affines(boxes[rows], spec.input_size, spec.padding)
        crops[rows] = warp_crops(image, affines[rows], spec.input_size)
        digest.update(hashlib.sha256(picture.path.read_bytes()).digest())
        digest.update(boxes[rows].astype("<f4").tobytes())
    return crops, affines, boxes, digest.hexdigest()


def _inside(picture: Picture, boxes: list[Float32 | None], image: UInt8) -> Float32:
    whole = np.array([0, 0, image.shape[1], image.shape[0]], np.float32)
    try:
        return check_boxes([whole if box is None else box for box in boxes], image.shape)
    except BoxError as error:
        raise BoxError(f"a box of {picture.path} does not fit it", str(error)) from error


@dataclass(frozen=True)
class _Batches:
    crops: UInt8
    spec: PoseSpec
    size: int

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        for start in range(0, len(self.crops), self.size):
            yield to_input(self.crops[start : start + self.size], self.spec)


class _LazyPhotos(Sequence[Photo]):
    """Pictures that are read each time they are asked for: a sample may be of 500 large photos."""

    def __init__(self, entries: list[tuple[Picture, Float32]]) -> None:
        self._entries = entries

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, index: int) -> Photo: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Photo]: ...
    def __getitem__(self, index: int | slice) -> Photo | Sequence[Photo]:
        if isinstance(index, slice):
            return _LazyPhotos(self._entries[index])
        picture, boxes = self._entries[index]
        return Photo(picture.path.name, picture.read(), boxes)
