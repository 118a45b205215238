"""Boxes from a file: what ``--boxes FILE.json`` takes.

Five forms, told apart by their structure:

``{"photo.jpg": [[x0, y0, x1, y1], …], …}``
    by file name (or by path, as the source spells it); a picture not named has nobody in it
``{"0": [[x0, y0, x1, y1], …], "12": […]}``
    by frame index, for videos and streams
``[[x0, y0, x1, y1], …]``
    the same boxes in every frame
``{"images": […], "annotations": […]}``
    COCO annotations: ``bbox`` is x, y, width, height; persons that are no crowd
``[{"image_id": …, "bbox": […], "score": …}, …]``
    COCO detections; ``image_id`` is the number in the picture's name, or the frame index

A picture is looked up by path, by name, and by the number its name ends in (``000785.jpg``,
``COCO_val2014_000000000785.jpg``); by its index only if there is no digit in its name. A video or
stream is looked up by path, by name and by the frame's index: numbers in its name mean nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgepose.errors import BoxError
from edgepose.poses import Float32, Frame, check_boxes

__all__ = ["BoxFile", "load_boxes"]

_PERSON = 1  # COCO's category id
_FORMS = (
    'give {"photo.jpg": [[x0, y0, x1, y1], …]}, the same by frame index, one list of boxes for '
    "every frame, COCO annotations or COCO detections"
)

Row = tuple[list[float], float]


@dataclass(frozen=True)
class BoxFile:
    """Boxes by frame.

    Attributes:
        path: Where they were read.
        by_key: File name, path or number (as text) -> boxes and scores.
        everywhere: Boxes of every frame, instead.
    """

    path: Path
    by_key: dict[str, tuple[Float32, Float32]] = field(default_factory=dict)
    everywhere: tuple[Float32, Float32] | None = None

    def boxes_in(self, frame: Frame, *, independent: bool) -> tuple[Float32, Float32]:
        """Boxes (N, 4) x0 y0 x1 y1 and scores (N,) of a frame.

        Args:
            frame: The frame.
            independent: It is a picture of its own, not one of a video or stream.

        Raises:
            BoxError: One of them lies outside the frame.
        """
        found = self._lookup(frame.source, frame.index, independent)
        if found is None:
            return np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
        try:
            check_boxes(found[0], frame.image.shape)
        except BoxError as error:
            raise BoxError(
                f"{self.path}: the boxes of {Path(frame.source).name}, frame {frame.index}, do "
                "not fit it",
                str(error),
                "boxes are x0, y0, x1, y1 in pixels (COCO files: x, y, width, height)",
            ) from error
        return found

    def check_covers(self, pictures: Iterable[Path]) -> None:
        """Refuse a file that names none of the pictures, or leaves open which of them it means.

        Raises:
            BoxError: With some of the names on both sides.
        """
        wanted = list(pictures)
        if not any(self._lookup(str(path), index, True) for index, path in enumerate(wanted)):
            self._refuse("the pictures", f"the source has {', '.join(p.name for p in wanted[:3])}")
        owners: dict[str, Path] = {}
        for path in wanted:
            number = _number(path)
            named = {str(path), path.name} & self.by_key.keys()
            if named or number is None or number not in self.by_key:
                continue
            other = owners.setdefault(number, path)
            if other != path:
                raise BoxError(
                    f"{self.path} does not tell whose the boxes of {number} are",
                    f"both {other} and {path} have that number",
                    "name the pictures in it by their paths",
                )

    def check_indexed(self, source: str) -> None:
        """Refuse a file that has no frame indices for a video or stream.

        Raises:
            BoxError: With some of the names in it.
        """
        indexed = any(key.isdigit() for key in self.by_key)
        if not indexed and self._lookup(source, -1, False) is None:
            self._refuse("the frames", f"frames of {source} are known by their index: 0, 1, …")

    def _refuse(self, what: str, wanted: str) -> None:
        theirs = ", ".join(list(self.by_key)[:3]) or "nothing"
        raise BoxError(
            f"{self.path} has boxes for none of {what}", f"it names {theirs}; {wanted}", _FORMS
        )

    def _lookup(self, source: str, index: int, independent: bool) -> tuple[Float32, Float32] | None:
        if self.everywhere is not None:
            return self.everywhere
        path = Path(source)
        keys = [source, path.name]
        if not independent:
            # rtsp://camera/2 is called "2"; the entry "2" is that of frame 2.
            keys = [key for key in keys if not key.isdigit()] + [str(index)]
        elif re.search(r"\d", path.stem):
            # Not the index: who is not in the list of numbers has no boxes, not another's.
            number = _number(path)
            keys += [] if number is None else [number]
        else:
            keys.append(str(index))
        return next((self.by_key[key] for key in keys if key in self.by_key), None)


def _number(picture: Path) -> str | None:
    """The number that a picture's name ends in, without leading zeros."""
    found = re.search(r"[0-9]+$", picture.stem)
    return str(int(found[0])) if found else None


def load_boxes(path: str | Path) -> BoxFile:
    """Read a file of boxes in any of the forms above.

    Raises:
        BoxError: Missing, no JSON, of no known form, or a box that is not finite or has no area.
    """
    path = Path(path)
    try:
        data = json.loads(path.read_text())
    except OSError as error:
        raise BoxError(f"cannot read {path}", error.strerror or str(error)) from error
    except ValueError as error:
        raise BoxError(f"cannot read {path}", f"it is not JSON ({error})", _FORMS) from error
    if isinstance(data, dict) and "annotations" in data and "images" in data:
        return BoxFile(path, _grouped(path, _annotations(path, data)))
    if isinstance(data, dict):
        return BoxFile(path, {str(k): _boxes(path, f"'{k}'", v) for k, v in data.items()})
    if isinstance(data, list) and data and isinstance(data[0], dict):
        return BoxFile(path, _grouped(path, _detections(path, data)))
    if isinstance(data, list):
        return BoxFile(path, everywhere=_boxes(path, "every frame", data))
    raise BoxError(f"{path} is of no known form", f"it holds a {type(data).__name__}", _FORMS)


def _annotations(path: Path, data: dict[str, Any]) -> list[tuple[str, Row]]:
    """(file name, box) of every person that is no crowd."""
    try:
        names = {image["id"]: str(image["file_name"]) for image in data["images"]}
        return [
            (names[row["image_id"]], _from_xywh(row["bbox"], 1.0))
            for row in data["annotations"]
            if row.get("category_id", _PERSON) == _PERSON and not row.get("iscrowd", 0)
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BoxError(
            f"{path} is no COCO annotation file", f"{type(error).__name__}: {error}", _FORMS
        ) from error


def _detections(path: Path, data: list[Any]) -> list[tuple[str, Row]]:
    try:
        return [
            (str(row["image_id"]), _from_xywh(row["bbox"], float(row.get("score", 1.0))))
            for row in data
            if row.get("category_id", _PERSON) == _PERSON
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BoxError(
            f"{path} is no list of COCO detections", f"{type(error).__name__}: {error}", _FORMS
        ) from error


def _from_xywh(bbox: list[float], score: float) -> Row:
    x, y, width, height = bbox
    return [x, y, x + width, y + height], score


def _grouped(path: Path, rows: list[tuple[str, Row]]) -> dict[str, tuple[Float32, Float32]]:
    groups: dict[str, list[Row]] = {}
    for key, row in rows:
        groups.setdefault(key, []).append(row)
    return {
        key: (
            _boxes(path, f"'{key}'", [box for box, _ in group])[0],
            np.array([score for _, score in group], np.float32),
        )
        for key, group in groups.items()
    }


def _boxes(path: Path, whose: str, values: Any) -> tuple[Float32, Float32]:
    try:
        boxes = check_boxes(values)
    except BoxError as error:
        raise BoxError(f"{path}: bad boxes for {whose}", str(error), _FORMS) from error
    return boxes, np.ones(len(boxes), np.float32)
