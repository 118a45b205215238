"""Fitting a picture into a detector's input without changing its aspect ratio."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgepose.poses import Float32, UInt8

__all__ = ["Letterbox", "letterbox"]


@dataclass(frozen=True)
class Letterbox:
    """A picture inside its frame, and the way back.

    Attributes:
        image: (H, W, 3) uint8, the picture resized, the rest filled.
        scale: Horizontal and vertical factor, image -> input.
        offset: x and y of the picture's corner in the input, in pixels.
    """

    image: UInt8
    scale: tuple[float, float]
    offset: tuple[int, int]

    def to_image(self, boxes: Float32) -> Float32:
        """(N, 4) boxes x0 y0 x1 y1 in input pixels -> image pixels."""
        shifted = boxes - np.array([*self.offset, *self.offset], np.float32)
        scaled: Float32 = (shifted / np.array([*self.scale, *self.scale])).astype(np.float32)
        return scaled


def letterbox(image: UInt8, size: tuple[int, int], *, centred: bool, fill: int) -> Letterbox:
    """Resize to fit ``size`` and fill what remains.

    Args:
        image: (h, w, 3) uint8.
        size: (H, W) of the result.
        centred: Picture in the middle (Ultralytics) or in the top left corner (YOLOX, RTMDet).
        fill: Grey level of the rest.
    """
    import cv2

    height, width = image.shape[:2]
    ratio = min(size[0] / height, size[1] / width)
    new_w, new_h = max(1, round(width * ratio)), max(1, round(height * ratio))
    x, y = ((size[1] - new_w) // 2, (size[0] - new_h) // 2) if centred else (0, 0)
    canvas = np.full((*size, 3), fill, np.uint8)
    canvas[y : y + new_h, x : x + new_w] = cv2.resize(
        image, (new_w, new_h), interpolation=cv2.INTER_LINEAR
    )
    return Letterbox(canvas, (new_w / width, new_h / height), (x, y))
