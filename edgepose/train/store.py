"""Every person cut out once, packed as uint8 in one memory-mapped file.

Reading and decoding photos costs more than a training step of a small model. So each person is
warped once, with room around the box for rotation and scale, and kept as raw pixels; an epoch then
only reads memory, and all augmentation is one resampling on the tensor device.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgepose.crops import apply_affines, box_affines
from edgepose.errors import DatasetError, ImageError, OutputError
from edgepose.files import atomic_path
from edgepose.images import read_image
from edgepose.poses import Float32, UInt8
from edgepose.train.annotations import PersonSet, Record

__all__ = ["PersonStore", "StoreShape", "default_cache", "open_store", "store_shape"]

# Bump when the packed pixels would come out differently.
_VERSION = 1
# Room around the plain box: scale 1.35 and rotation reach about this far beyond it.
ROOM = 1.45
_LISTED = 5


@dataclass(frozen=True)
class StoreShape:
    """How persons are packed.

    Attributes:
        size: (height, width) of a packed picture.
        padding: Growth of the box, with the aspect ratio of ``size``.
    """

    size: tuple[int, int]
    padding: float


@dataclass(frozen=True)
class PersonStore:
    """Packed persons.

    Attributes:
        shape: Size and padding of the pictures.
        pixels: (N, Hs, Ws, 3) uint8 BGR, memory-mapped.
        joints: (N, K, 3) float32: x, y in picture pixels, and v (0 = not annotated).
    """

    shape: StoreShape
    pixels: UInt8
    joints: Float32

    def __len__(self) -> int:
        return len(self.joints)


def store_shape(input_size: tuple[int, int], padding: float) -> StoreShape:
    """How to pack persons for a model: finer than its input where that stays affordable.

    The long side is twice the input's, within 128..384 pixels (small inputs may then be zoomed
    into, and a large set still fits a disk), and the picture is never coarser than the input.
    """
    height, width = input_size
    longest = max(height, width)
    factor = max(ROOM, min(max(2 * longest, 128), 384) / longest)
    size = (round(height * factor), round(width * factor))
    return StoreShape(size, padding * ROOM)


def open_store(
    data: PersonSet,
    shape: StoreShape,
    cache: Path,
    progress: Callable[[int, int], None] | None = None,
) -> PersonStore:
    """Open the packed set, packing it first where the cache lacks it.

    Args:
        data: The set.
        shape: How to pack.
        cache: Folder of packed sets; names carry a digest of the annotations and the shape.
        progress: Called with (persons done, persons in all) while packing.

    Raises:
        DatasetError: Images that cannot be read (the first few are named), or a damaged cache.
        OutputError: The cache cannot be written, or its disk is too full.
    """
    token = f"{data.digest}:{shape}:{_VERSION}".encode()
    target = cache / f"{data.name}-{hashlib.sha256(token).hexdigest()[:16]}.npy"
    expected = (len(data.records), *shape.size, 3)
    if not target.is_file():
        _check_room(cache, math.prod(expected))
        with atomic_path(target) as temporary:
            _pack(data, shape, temporary, progress)
    pixels = _map(target, expected)
    boxes = np.stack([record.box for record in data.records])  # (N, 4)
    joints = np.stack([record.joints for record in data.records])  # (N, K, 3)
    affines = box_affines(boxes, shape.size, shape.padding)
    joints[..., :2] = apply_affines(joints[..., :2], affines)
    return PersonStore(shape, pixels, joints)


def cut_out(image: UInt8, affines: npt.NDArray[np.float64], size: tuple[int, int]) -> UInt8:
    """As :func:`edgepose.crops.warp_crops`, averaging first where the picture shrinks a lot.

    Args:
        image: (H, W, 3) uint8 BGR.
        affines: (N, 2, 3) image -> picture, without rotation.
        size: (height, width) of a picture.

    Returns:
        (N, height, width, 3) uint8.
    """
    import cv2

    height, width = size
    out = np.zeros((len(affines), height, width, 3), np.uint8)
    for picture, affine in zip(out, affines, strict=True):
        factor = min(int(1 / affine[0, 0]), *image.shape[:2])
        source: npt.NDArray[Any] = image
        matrix = affine
        if factor >= 2:
            # Averaging whole blocks keeps the continuous coordinates: x_small + .5 = (x + .5) / f.
            rows, columns = (extent // factor for extent in image.shape[:2])
            source = cv2.resize(
                image[: rows * factor, : columns * factor],
                (columns, rows),
                interpolation=cv2.INTER_AREA,
            )
            matrix = affine.copy()
            matrix[:, :2] *= factor
            matrix[:, 2] += affine[:, :2].sum(1) * (factor - 1) / 2
        cv2.warpAffine(source, matrix, (width, height), dst=picture, flags=cv2.INTER_LINEAR)
    return out


def _check_room(cache: Path, size: int) -> None:
    """Writing to a mapped file on a full disk kills the process, so that must be known before."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(cache).free
    except OSError as error:
        raise OutputError(
            f"cannot write to {cache}", error.strerror or str(error), "give another --cache DIR"
        ) from error
    if free < size:
        raise OutputError(
            f"cannot pack the set in {cache}",
            f"it takes {size / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free",
            "give a --cache DIR on a larger disk",
        )


def _map(target: Path, expected: tuple[int, ...]) -> UInt8:
    try:
        pixels: npt.NDArray[Any] = np.load(target, mmap_mode="r")
        found = f"{pixels.dtype} {pixels.shape}"
        sound = pixels.shape == expected and pixels.dtype == np.uint8
    except (ValueError, OSError, EOFError) as error:
        found, sound = str(error), False
    if not sound:
        raise DatasetError(
            f"the packed set {target} is damaged",
            f"expected uint8 {expected}, found {found}",
            f"delete {target}; it is packed again",
        )
    return pixels


def _pack(
    data: PersonSet,
    shape: StoreShape,
    target: Path,
    progress: Callable[[int, int], None] | None,
) -> None:
    by_image: dict[Path, list[int]] = {}
    for index, record in enumerate(data.records):
        by_image.setdefault(record.image, []).append(index)
    count = len(data.records)
    pixels = np.lib.format.open_memmap(target, "w+", np.uint8, (count, *shape.size, 3))
    broken: list[str] = []
    done = 0

    def cut(image: Path) -> ImageError | None:
        indices = by_image[image]
        records: list[Record] = [data.records[i] for i in indices]
        try:
            picture = read_image(image)
        except ImageError as error:
            return error
        boxes = np.stack([record.box for record in records])
        affines = box_affines(boxes, shape.size, shape.padding)
        pixels[indices] = cut_out(picture, affines, shape.size)
        return None

    pool = ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1))
    try:
        for image, error in zip(by_image, pool.map(cut, by_image), strict=True):
            if error is not None:
                broken.append(f"{image.name} ({error.why})")
            done += len(by_image[image])
            if progress is not None:
                progress(done, count)
    finally:
        # Ctrl-C must not wait for all the photos that are still queued.
        pool.shutdown(cancel_futures=True)
    if broken:
        raise DatasetError(
            f"{len(broken)} images of '{data.name}' cannot be read",
            "; ".join(broken[:_LISTED]) + ("; ..." if len(broken) > _LISTED else ""),
            "repair them or take them out of the annotation file",
        )
    pixels.flush()


def default_cache() -> Path:
    """``$XDG_CACHE_HOME/edgepose/train``, or ``~/.cache/edgepose/train``."""
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        root = Path(base) if base else Path.home() / ".cache"
    except RuntimeError as error:
        raise OutputError(
            "there is no home folder to keep packed pictures in",
            str(error),
            "set XDG_CACHE_HOME, or give --cache DIR",
        ) from error
    return root / "edgepose" / "train"
