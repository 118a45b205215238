"""Reading and writing pictures, with errors that say what is wrong with the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgepose.errors import ImageError, OutputError
from edgepose.files import write_bytes
from edgepose.poses import UInt8, check_image

__all__ = ["IMAGE_SUFFIXES", "read_image", "write_image"]

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


def read_image(path: str | Path, *, upright: bool = True) -> UInt8:
    """Read a picture as (H, W, 3) uint8 BGR.

    Grey, BGRA and 16-bit pictures are converted.

    Args:
        path: The file.
        upright: Turn it as its EXIF tag says. Off for annotated sets, whose coordinates are those
            of the pixels as stored (COCO's are).

    Raises:
        ImageError: The file is missing, empty, truncated or no picture.
    """
    import cv2

    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot read {path}", error.strerror or str(error)) from error
    if not data:
        raise ImageError(f"cannot read {path}", "the file is empty")
    if _is_truncated_jpeg(data):
        raise ImageError(
            f"cannot read {path}", "the JPEG ends before its picture does (truncated file)"
        )
    # IMREAD_ANYDEPTH | IMREAD_COLOR keeps 16 bits (scaled in check_image) and applies EXIF.
    flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR
    if not upright:
        flags |= cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:  # a header that claims more pixels than OpenCV takes
        raise ImageError(f"cannot read {path}", str(error).strip()) from error
    if image is None:
        raise ImageError(
            f"cannot read {path}",
            "it is not a picture that OpenCV knows, or it is damaged",
            f"use one of {', '.join(sorted(IMAGE_SUFFIXES))}",
        )
    try:
        return check_image(image)
    except ImageError as error:
        raise ImageError(f"cannot read {path}", str(error)) from error


def write_image(path: str | Path, image: UInt8) -> None:
    """Write a picture, whole or not at all; the suffix chooses the format.

    Raises:
        OutputError: Unknown suffix, or the file cannot be written.
    """
    import cv2

    path = Path(path)
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise OutputError(
            f"cannot write {path}",
            f"'{path.suffix}' is no picture format",
            f"use one of {', '.join(sorted(IMAGE_SUFFIXES))}",
        )
    done, data = cv2.imencode(path.suffix.lower(), image)
    if not done:
        raise OutputError(f"cannot write {path}", "the picture could not be encoded")
    write_bytes(path, data.tobytes())


def _is_truncated_jpeg(data: bytes) -> bool:
    """OpenCV fills the missing part of a cut JPEG with grey and reports success; we do not.

    Every JPEG ends its picture with the marker FF D9; a few writers add padding after it.
    """
    return data[:2] == b"\xff\xd8" and b"\xff\xd9" not in data[-4096:]
