"""Photos with MPII annotations: the JSON form that top-down code bases share.

One object a person (``annot/valid.json``)::

    {"image": "015601864.jpg", "center": [594, 257], "scale": 3.02,
     "joints": [[x, y], ...], "joints_vis": [1, 0, ...], "headbox": [x0, y0, x1, y1]}

``scale`` is the person's height in units of 200 pixels, ``joints`` are MPII's 16. All positions
count from 1, as MPII's own Matlab file does; they are read as they are there, less 1. Files whose
positions count from 0 already come out one pixel off.

Head boxes, by which PCKh scales distances, are not part of the usual file. They are taken from the
person's ``headbox`` (or ``headboxes``: two corners), from its ``head_size`` (60 % of the box's
diagonal, in pixels), or from a file beside the annotations, ``headboxes_SPLIT.npz`` or ``.json``:
an array ``headboxes`` (N, 4), or ``headboxes_src`` (2, 2, N) as ``gt_SPLIT.mat`` has it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgepose.errors import DatasetError, InputError
from edgepose.evaluate.people import People, Picture, numbered_within
from edgepose.evaluate.store import read_arrays

__all__ = ["MPII_JOINTS", "MpiiPoses"]

MPII_JOINTS = (
    "right_ankle",
    "right_knee",
    "right_hip",
    "left_hip",
    "left_knee",
    "left_ankle",
    "pelvis",
    "thorax",
    "upper_neck",
    "head_top",
    "right_wrist",
    "right_elbow",
    "right_shoulder",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
)
# MPII's own rule: distances are measured in 60 % of the head box's diagonal.
_HEAD = 0.6
_PIXELS = 200.0
_NAMES = ("valid.json", "val.json", "mpii_val.json")
_FOLDERS = ("annot", "annotations", ".")

Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class MpiiPoses:
    """Annotated persons, those of a photo next to each other.

    Attributes:
        name: ``MPII`` and the split, e.g. ``MPII valid``.
        pictures: The photos, in the order of their names; ids count from 0.
        image_ids: (N,) photo of each person, ascending.
        numbers: (N,) which person of the photo it is, as the file lists them.
        centres: (N, 2) where the person is, in index coordinates (the first pixel's centre is 0).
        heights: (N,) the person's height in pixels.
        joints: (N, 16, 2) positions in index coordinates.
        visible: (N, 16) whether they are annotated.
        head_sizes: (N,) what distances are measured in, in pixels.
        sha256: Digest of the annotations and the head boxes.
        limited: How many photos :meth:`first` left, or None where it left all.
    """

    name: str
    pictures: tuple[Picture, ...]
    image_ids: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.int64]
    centres: Float64
    heights: Float64
    joints: Float64
    visible: Bool
    head_sizes: Float64
    sha256: str
    limited: int | None = None

    @classmethod
    def load(cls, folder: str | Path) -> MpiiPoses:
        """Read a folder: ``annot/valid.json`` beside ``images/``.

        Raises:
            DatasetError: The folder is laid out otherwise, the file is of another form, head boxes
                or photos are absent, or nobody is annotated.
        """
        file = _annotation_file(Path(folder))
        try:
            raw = file.read_bytes()
            rows = json.loads(raw)
        except OSError as error:
            raise DatasetError(f"cannot read {file}", error.strerror or str(error)) from error
        except ValueError as error:
            raise DatasetError(f"cannot read {file}", f"it is not JSON ({error})") from error
        if not isinstance(rows, list) or not rows:
            raise DatasetError(f"{file} is no list of persons", "MPII's JSON form is one")
        names, table = _columns(file, rows)
        heads, digest = _head_sizes(file, rows)
        ids = {name: number for number, name in enumerate(sorted(set(names)))}
        images = np.array([ids[name] for name in names], np.int64)
        root = _image_folder(file, sorted(ids))
        order = np.argsort(images, kind="stable")
        pictures = tuple(Picture(number, root / name, None) for name, number in ids.items())
        _check_present(file, pictures)
        return cls(
            f"MPII {file.stem.removeprefix('mpii_')}",
            pictures,
            images[order],
            numbered_within(images)[order],
            table["centres"][order],
            table["heights"][order],
            table["joints"][order],
            table["visible"][order],
            heads[order],
            hashlib.sha256(raw + digest).hexdigest(),
        )

    def __len__(self) -> int:
        return len(self.image_ids)

    def first(self, count: int) -> MpiiPoses:
        """The first ``count`` photos, for a quick look."""
        if count >= len(self.pictures):
            return self
        rows = self.image_ids < count
        columns = ("image_ids", "numbers", "centres", "heights", "joints", "visible", "head_sizes")
        taken: dict[str, Any] = {name: getattr(self, name)[rows] for name in columns}
        return replace(self, pictures=self.pictures[:count], limited=count, **taken)

    def people(self, input_size: tuple[int, int]) -> People:
        """The boxes of the usual protocol: 200 pixels times ``scale`` high, moved down a little.

        The centre is moved down by 15 pixels times ``scale``, as everybody does who follows
        Newell et al. (ECCV 2016): MPII's centre lies above the body's. The box is as high as the
        person and of the crop's shape, at most square, so that a square crop is the published one.

        Args:
            input_size: (H, W) of the crop.
        """
        high, wide = input_size
        # From the centre of a pixel to continuous coordinates: half a pixel more.
        centres = self.centres + 0.5
        centres[:, 1] += 15 * self.heights / _PIXELS
        half = np.stack([self.heights * min(1, wide / high), self.heights], axis=1) / 2  # (N, 2)
        return People(
            self.pictures,
            self.image_ids,
            self.numbers,
            np.concatenate([centres - half, centres + half], axis=1).astype(np.float32),
            np.ones(len(self)),
            "annotated centre and scale",
        )


def _annotation_file(folder: Path) -> Path:
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}")
    for sub in _FOLDERS:
        for name in _NAMES:
            if (folder / sub / name).is_file():
                return folder / sub / name
    raise DatasetError(
        f"{folder} holds no MPII annotations",
        f"looked for {', '.join(_NAMES)} in {', '.join(_FOLDERS)}",
        "give a folder with annot/valid.json and the photos in images/",
    )


def _columns(file: Path, rows: list[Any]) -> tuple[list[str], dict[str, Any]]:
    """File names, and arrays by name; a row that does not fit is named."""
    names, centres, heights, joints, visible = [], [], [], [], []
    for index, row in enumerate(rows):
        try:
            names.append(str(row["image"]))
            centres.append(_numbers(row["center"], (2,)) - 1)
            heights.append(float(row["scale"]) * _PIXELS)
            joints.append(_numbers(row["joints"], (len(MPII_JOINTS), 2)) - 1)
            visible.append(_numbers(row["joints_vis"], (len(MPII_JOINTS),)) > 0)
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(
                f"{file} is not of MPII's JSON form",
                f"person {index}: {type(error).__name__}: {error}",
            ) from error
        if centres[-1][0] == -2 or not heights[-1] > 0:
            raise DatasetError(
                f"{file} does not say where person {index} is",
                f"centre {row['center']}, scale {row['scale']}",
            )
    table = {
        "centres": np.stack(centres),
        "heights": np.array(heights),
        "joints": np.stack(joints),
        "visible": np.stack(visible),
    }
    return names, table


def _numbers(values: Any, shape: tuple[int, ...]) -> Float64:
    array = np.asarray(values, np.float64)
    if array.shape != shape or not np.isfinite(array).all():
        raise ValueError(f"expected finite numbers of shape {shape}, got shape {array.shape}")
    return array


def _head_sizes(file: Path, rows: list[dict[str, Any]]) -> tuple[Float64, bytes]:
    """(N,) what distances are measured in, and what they add to the data set's digest."""
    beside = [file.with_name(f"headboxes_{file.stem}{suffix}") for suffix in (".npz", ".json")]
    present = [path for path in beside if path.is_file()]
    if present:
        boxes = _read_boxes(present[0], len(rows))
        sizes, digest = _HEAD * _diagonals(boxes), boxes.tobytes()
    elif all(_own_size(row) is not None for row in rows):
        sizes, digest = np.array([_own_size(row) for row in rows], np.float64), b""
    else:
        split = file.stem
        raise DatasetError(
            f"{file} has no head boxes, by which PCKh scales distances",
            f"not every person has a 'headbox' or 'head_size', and there is no {beside[0].name}",
            f"make it from MPII's gt_{split}.mat: python -c \"import numpy, scipy.io; "
            f"numpy.savez('{beside[0]}', "
            f"headboxes_src=scipy.io.loadmat('gt_{split}.mat')['headboxes_src'])\"",
        )
    bad = np.flatnonzero(~(np.isfinite(sizes) & (sizes > 0)))
    if len(bad):
        raise DatasetError(
            f"the head of person {bad[0]} of {file} has no size", f"it is {sizes[bad[0]]:g} pixels"
        )
    return sizes, digest


def _own_size(row: dict[str, Any]) -> float | None:
    try:
        if "head_size" in row:
            return float(row["head_size"])
        box = row.get("headbox", row.get("headboxes"))
        if box is None:
            return None
        corners = np.asarray(box, np.float64).reshape(1, 4)
    except (TypeError, ValueError):
        return None
    return float(_HEAD * _diagonals(corners)[0])


def _read_boxes(path: Path, count: int) -> Float64:
    """(N, 4) head boxes of a file beside the annotations."""
    try:
        if path.suffix == ".json":
            data: Any = json.loads(path.read_text())
            arrays = data if isinstance(data, dict) else {"headboxes": data}
        else:
            arrays = read_arrays(path)
        if "headboxes_src" in arrays:
            corners = _numbers(arrays["headboxes_src"], (2, 2, count))  # corner, x and y, person
            return np.ascontiguousarray(corners.transpose(2, 0, 1)).reshape(count, 4)
        return _numbers(arrays["headboxes"], (count, 4))
    except (InputError, OSError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f"{path} does not hold the head boxes of {count} persons",
            f"{type(error).__name__}: {error}",
            "give 'headboxes' (N, 4), or 'headboxes_src' (2, 2, N)",
        ) from error


def _diagonals(boxes: Float64) -> Float64:
    lengths: Float64 = np.linalg.norm(boxes[:, 2:] - boxes[:, :2], axis=1)
    return lengths


def _image_folder(file: Path, names: Sequence[str]) -> Path:
    base = file.parent if file.parent.name not in _FOLDERS else file.parent.parent
    for candidate in (base / "images", base):
        if any((candidate / name).is_file() for name in names[:20]):
            return candidate
    raise DatasetError(
        f"cannot find the photos of {file}",
        f"'{names[0]}' is neither in {base / 'images'} nor in {base}",
    )


def _check_present(file: Path, pictures: tuple[Picture, ...]) -> None:
    absent = [picture.path for picture in pictures if not picture.path.is_file()]
    if absent:
        raise DatasetError(
            f"{len(absent)} of {len(pictures)} photos of {file} are absent",
            ", ".join(str(path) for path in absent[:3]) + (", ..." if len(absent) > 3 else ""),
        )
