"""Crops of real people with what PyTorch finds on them, to hold engines to where there is no torch.

The crops themselves are carried, not the photos: another version of OpenCV may cut a photo another
way by one grey level. They are put below one another in strips and cut out again by boxes that fit
them exactly, so that they go through the estimator as photos do, and come out as they went in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgepose.closing import Closing
from edgepose.crops import box_affines, to_input, warp_crops
from edgepose.errors import ArtefactError
from edgepose.parity import Photo
from edgepose.poses import UInt8
from edgepose.spec import PoseSpec

__all__ = ["People", "StoredRunner", "crops_of", "nudged_runners", "read_people", "strips"]

Outputs = dict[str, npt.NDArray[Any]]

_CROPS, _FOUND, _NUDGED = "crops", "found.", "nudged"
# Far below one grey level after normalisation, far above rounding.
_SAME = 1e-4


@dataclass(frozen=True)
class People:
    """People and what a model makes of them.

    Attributes:
        crops: (N, H, W, 3) uint8 BGR.
        found: Output name -> (N, ...) float32, by PyTorch in FP32.
        nudged: The same by the model with its weights rounded otherwise; any number of times.
    """

    crops: UInt8
    found: Outputs
    nudged: tuple[Outputs, ...]

    def to_bytes(self) -> bytes:
        """As one file. Of the nudged outputs only the difference is kept, in FP16."""
        arrays: Outputs = {_CROPS: self.crops}
        arrays |= {_FOUND + name: value for name, value in self.found.items()}
        for index, outputs in enumerate(self.nudged):
            for name, value in outputs.items():
                difference = (value - self.found[name]).astype(np.float16)
                arrays[f"{_NUDGED}{index}.{name}"] = difference
        buffer = BytesIO()
        # numpy's stub has no room for any keyword but its own.
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        return buffer.getvalue()


def read_people(path: Path) -> People:
    """What :meth:`People.to_bytes` made.

    Raises:
        ArtefactError: The file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        crops = arrays.pop(_CROPS)
    except (OSError, ValueError, KeyError) as error:
        raise ArtefactError(f"cannot read {path}", f"{type(error).__name__}: {error}") from error
    found = {n.removeprefix(_FOUND): v for n, v in arrays.items() if n.startswith(_FOUND)}
    count = len(arrays) // len(found) - 1
    nudged = tuple(
        {n: v + arrays[f"{_NUDGED}{index}.{n}"].astype(np.float32) for n, v in found.items()}
        for index in range(count)
    )
    return People(crops, found, nudged)


def crops_of(photos: Sequence[Photo], spec: PoseSpec, count: int) -> UInt8:
    """The first ``count`` people, cut as the estimator cuts them; fewer where there are fewer."""
    parts: list[UInt8] = []
    for photo in photos:
        affines = box_affines(photo.boxes, spec.input_size, spec.padding)
        parts.append(warp_crops(photo.image, affines, spec.input_size))
        if sum(map(len, parts)) >= count:
            break
    crops: UInt8 = np.concatenate(parts)[:count]
    return crops


def strips(crops: UInt8, size: int, spec: PoseSpec) -> list[Photo]:
    """Crops below one another, at most ``size`` in a picture, each with the box that cuts it."""
    height, width = spec.input_size
    photos = []
    for start in range(0, len(crops), size):
        part = crops[start : start + size]
        middles = np.arange(len(part)) * height + height / 2
        half_width, half_height = width / spec.padding / 2, height / spec.padding / 2
        boxes = np.stack(
            [
                np.full(len(part), width / 2 - half_width),
                middles - half_height,
                np.full(len(part), width / 2 + half_width),
                middles + half_height,
            ],
            axis=1,
        ).astype(np.float32)
        image = np.ascontiguousarray(part.reshape(-1, width, 3))  # (n * H, W, 3)
        photos.append(Photo(f"strip {start}", image, boxes))
    return photos


class StoredRunner(Closing):
    """Gives what another runner gave on the same people, who must come in the same order.

    Args:
        spec: Of that runner.
        crops: (N, H, W, 3) the people.
        found: What it gave.
    """

    device = "stored"
    max_batch = 2**31
    buckets: tuple[int, ...] | None = None

    def __init__(self, spec: PoseSpec, crops: UInt8, found: Mapping[str, npt.NDArray[Any]]) -> None:
        self.spec = spec
        self._crops, self._found = crops, found
        self._next = 0

    def infer(self, images: npt.NDArray[Any]) -> Outputs:
        """See :class:`edgepose.runtime.base.Runner`.

        Raises:
            ArtefactError: These are other people, or they were cut otherwise.
        """
        rows = slice(self._next, self._next + len(images))
        wanted = to_input(self._crops[rows], self.spec)
        if wanted.shape != images.shape or np.abs(wanted - images).max(initial=0) > _SAME:
            raise ArtefactError(
                "the stored people came out otherwise than they went in",
                "this OpenCV cuts a crop that fits exactly in another way",
                "use the OpenCV that made the bundle, see made_with in its manifest",
            )
        self._next = rows.stop
        return {name: value[rows] for name, value in self._found.items()}

    def describe(self) -> dict[str, Any]:
        """See :class:`edgepose.runtime.base.Runner`."""
        return {"runtime": "stored outputs", "device": self.device}


def nudged_runners(people: People, spec: PoseSpec) -> Iterator[StoredRunner]:
    """The model with its weights rounded otherwise, one after the other."""
    for outputs in people.nudged:
        yield StoredRunner(spec, people.crops, outputs)
