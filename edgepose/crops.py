"""From boxes to crops and back: the one affine of edgepose.

Coordinates are index coordinates: the centre of pixel i is i. The affine keeps centres: the box
centre (continuous coordinates cx, cy) lands on the crop's centre, so that mirroring the crop
mirrors the keypoints exactly and no half-pixel is lost anywhere::

    x_crop = (x_image + 0.5 - cx) * s + W / 2 - 0.5,   s = W / width of the padded box

A box is first grown on one side to the crop's aspect ratio, then on both by ``padding``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgepose.poses import Float32, UInt8
from edgepose.spec import PoseSpec

__all__ = [
    "apply_affines",
    "box_affines",
    "invert_affines",
    "normalise",
    "to_input",
    "warp_crops",
]

Float64 = npt.NDArray[np.float64]


def box_affines(boxes: Float32, input_size: tuple[int, int], padding: float) -> Float64:
    """Affines that map image pixels to crop pixels.

    Args:
        boxes: (N, 4) x0 y0 x1 y1 in image pixels.
        input_size: (H, W) of the crop.
        padding: Growth factor after the aspect ratio was met.

    Returns:
        (N, 2, 3) float64, image -> crop, uniform scale, no rotation.
    """
    height, width = input_size
    corners = np.asarray(boxes, np.float64).reshape(-1, 4)
    centre = (corners[:, :2] + corners[:, 2:]) / 2  # (N, 2), continuous coordinates
    extent = corners[:, 2:] - corners[:, :2]
    padded_width = np.maximum(extent[:, 0], extent[:, 1] * width / height) * padding
    scale = width / padded_width
    affines = np.zeros((len(corners), 2, 3))
    affines[:, 0, 0] = affines[:, 1, 1] = scale
    affines[:, :, 2] = (0.5 - centre) * scale[:, None] + np.array([width, height]) / 2 - 0.5
    return affines


def invert_affines(affines: Float64) -> Float64:
    """(N, 2, 3) inverse affines (crop -> image)."""
    linear = np.linalg.inv(affines[:, :, :2])
    shift = -linear @ affines[:, :, 2:]
    return np.concatenate([linear, shift], axis=2)


def apply_affines(points: npt.NDArray[np.floating], affines: Float64) -> Float32:
    """Map (N, K, 2) points by their (N, 2, 3) affines; float32."""
    mapped = points @ affines[:, :, :2].transpose(0, 2, 1) + affines[:, None, :, 2]
    return mapped.astype(np.float32)


def warp_crops(image: UInt8, affines: Float64, input_size: tuple[int, int]) -> UInt8:
    """Cut all crops out of one image; what lies outside is black.

    Sampling is bilinear. Where a crop pixel spans two image pixels or more, the image is first
    halved, by averaging, until it spans fewer: bilinear sampling alone would skip pixels and make
    a person seen close up jagged.

    Args:
        image: (H, W, 3) uint8 BGR.
        affines: (N, 2, 3) image -> crop, of uniform scale and without rotation.
        input_size: (H, W) of a crop.

    Returns:
        (N, H, W, 3) uint8 BGR.
    """
    import cv2

    height, width = input_size
    crops = np.empty((len(affines), height, width, 3), np.uint8)
    for crop, affine in zip(crops, affines, strict=True):
        source, to_crop = _averaged(image, affine, input_size)
        cv2.warpAffine(source, to_crop, (width, height), dst=crop, flags=cv2.INTER_LINEAR)
    return crops


def _averaged(image: UInt8, affine: Float64, input_size: tuple[int, int]) -> tuple[UInt8, Float64]:
    """The part of the image under a crop, averaged down, and the affine that goes with it."""
    import cv2

    scale = affine[0, 0]
    halvings = int(np.log2(1 / scale)) if scale <= 0.5 else 0
    if halvings == 0:
        return image, affine
    factor = 2**halvings
    spans = [
        _span(affine[axis, 2], scale, cells, image.shape[1 - axis], factor)
        for axis, cells in enumerate((input_size[1], input_size[0]))
    ]
    (left, columns), (top, rows) = spans
    if not columns or not rows:
        return image, affine
    part = image[top : top + rows * factor, left : left + columns * factor]
    for step in reversed(range(halvings)):
        size = (columns << step, rows << step)
        part = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)
    to_crop = affine.copy()
    to_crop[:, :2] *= factor
    # Cell r holds image pixels first + r * factor ... ; its centre is (factor - 1) / 2 further on.
    to_crop[:, 2] += scale * (np.array([left, top]) + (factor - 1) / 2)
    return part, to_crop


def _span(shift: float, scale: float, cells: int, pixels: int, factor: int) -> tuple[int, int]:
    """First image pixel and number of averaged cells that a crop needs along one axis.

    A margin of one cell feeds the bilinear sampling. The cells tile a whole number of pixels; at
    the image's far border the tiling is moved back rather than cut short.
    """
    first = max(0, int((-0.5 - shift) / scale) - factor)
    last = min(pixels, int((cells - 0.5 - shift) / scale) + factor + 1)
    count = -(-(last - first) // factor)
    if first + count * factor > pixels:
        first = max(0, pixels - count * factor)
        count = (pixels - first) // factor
    return first, max(count, 0)


def normalise(crops: UInt8, spec: PoseSpec) -> Float32:
    """(N, H, W, 3) uint8 BGR -> (N, 3, H, W) float32, (pixel - mean) / std, in spec's colours."""
    scale = 1 / np.asarray(spec.std, np.float32)
    shift = -np.asarray(spec.mean, np.float32) * scale
    planes = np.empty((len(crops), 3, *crops.shape[1:3]), np.float32)
    order = (2, 1, 0) if spec.colour == "rgb" else (0, 1, 2)
    for plane, channel in enumerate(order):
        np.multiply(crops[..., channel], scale[plane], out=planes[:, plane])
    planes += shift[:, None, None]
    return planes


def to_input(crops: UInt8, spec: PoseSpec) -> npt.NDArray[np.float32 | np.float16 | np.uint8]:
    """Crops in the form the graph takes.

    Args:
        crops: (N, H, W, 3) uint8 BGR.
        spec: The artefact's spec.

    Returns:
        (N, 3, H, W) or (N, H, W, 3) in ``spec.dtype``; uint8 graphs normalise by themselves.
    """
    if spec.dtype == "uint8":
        pixels = crops if spec.colour == "bgr" else crops[..., ::-1]
        moved = pixels.transpose(0, 3, 1, 2) if spec.layout == "nchw" else pixels
        return np.ascontiguousarray(moved)
    planes = normalise(crops, spec)
    if spec.layout == "nhwc":
        planes = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
    return planes.astype(spec.dtype, copy=False)
