"""From boxes to crops and back: the one affine of edgepose.

Coordinates are index coordinates: the centre of pixel i is i. The affine keeps centres: the box
centre (continuous coordinates cx, cy) lands on the crop's centre, so that mirroring the crop
mirrors the keypoints exactly and no half-pixel is lost anywhere::

    x_crop = (x_image + 0.5 - cx) * s + W / 2 - 0.5,   s = W / width of the padded box

A box is first grown on one side to the crop's aspect ratio, then on both by ``padding``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from edgepose.parallel import for_each_row
from edgepose.poses import Float32, UInt8
from edgepose.spec import PoseSpec

__all__ = [
    "apply_affines",
    "box_affines",
    "cut_inputs",
    "normalise",
    "to_input",
    "unapply_affines",
    "warp_crops",
]

Float64 = npt.NDArray[np.float64]

# OpenCV samples pixels of four channels to the same bytes as pixels of three, and faster: by 3.2 ns
# a pixel (5.0) or 0.6 ns (4.8). To give a pixel its fourth channel costs 0.14 to 0.25 ns, and each
# call some 10 us. So an image is converted as a whole if it has at most so many times the pixels
# that are sampled from it, and crops must not be tiny.
_FOURTH_CHANNEL_PAYS = 6
# In a crop of fewer pixels, calls cost more than pixels.
_LARGE = 64 * 64


def box_affines(boxes: Float32, input_size: tuple[int, int], padding: float) -> Float64:
    """Affines that map image pixels to crop pixels.

    Args:
        boxes: (N, 4) x0 y0 x1 y1 in image pixels, finite and with an area, as
            :func:`edgepose.poses.check_boxes` passes them.
        input_size: (H, W) of the crop.
        padding: Growth factor after the aspect ratio was met.

    Returns:
        (N, 2, 3) float64, image -> crop, uniform scale, no rotation.
    """
    height, width = input_size
    rows = []
    # Plain floats: a few people are done before numpy has begun.
    for x0, y0, x1, y1 in np.asarray(boxes, np.float64).reshape(-1, 4).tolist():
        scale = width / (max(x1 - x0, (y1 - y0) * width / height) * padding)
        x = (0.5 - (x0 + x1) / 2) * scale + width / 2 - 0.5
        y = (0.5 - (y0 + y1) / 2) * scale + height / 2 - 0.5
        rows.append((scale, 0.0, x, 0.0, scale, y))
    return np.array(rows, np.float64).reshape(-1, 2, 3)


def apply_affines(points: npt.NDArray[np.floating], affines: Float64) -> Float32:
    """Map (N, K, 2) points by their (N, 2, 3) affines (no rotation, as above); float32."""
    mapped = points * affines[:, None, :1, 0] + affines[:, None, :, 2]
    return mapped.astype(np.float32)


def unapply_affines(points: npt.NDArray[np.floating], affines: Float64) -> Float32:
    """Map (N, K, 2) points back through their (N, 2, 3) affines (no rotation); float32."""
    mapped = (points - affines[:, None, :, 2]) / affines[:, None, :1, 0]
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

    sample, pixels = _sampler(image, affines, input_size)
    crops = np.empty((len(affines), *input_size, 3), np.uint8)

    def cut(row: int) -> None:
        sampled = sample(row)
        if sampled.shape[2] == 3:
            crops[row] = sampled
        else:
            cv2.cvtColor(sampled, cv2.COLOR_BGRA2BGR, dst=crops[row])

    for_each_row(cut, len(affines), pixels)
    return crops


def cut_inputs(
    image: UInt8, affines: Float64, spec: PoseSpec
) -> npt.NDArray[np.float32 | np.float16 | np.uint8]:
    """``to_input(warp_crops(...))`` to the bit, in one pass over each person where that pays.

    Args:
        image: As :func:`warp_crops` takes it.
        affines: Likewise.
        spec: The artefact's spec.

    Returns:
        As :func:`to_input` gives it.
    """
    if spec.dtype == "uint8" or spec.layout != "nchw":
        return to_input(warp_crops(image, affines, spec.input_size), spec)
    sample, pixels = _sampler(image, affines, spec.input_size)
    planes = np.empty((len(affines), 3, *spec.input_size), np.float32)
    fill = _filler(planes, spec)
    # A crop is still in the cache when it is normalised.
    for_each_row(lambda row: fill(row, sample(row)), len(affines), pixels)
    return planes.astype(spec.dtype, copy=False)


def _sampler(
    image: UInt8, affines: Float64, input_size: tuple[int, int]
) -> tuple[Callable[[int], UInt8], float]:
    """What cuts the crop of a row, as BGR or BGRA, and how many pixels all of them touch."""
    import cv2

    height, width = input_size
    scales = affines[:, 0, 0].tolist()
    large = height * width >= _LARGE
    sampled = height * width * sum(scale > 0.5 for scale in scales)  # of the image as it is
    whole = image
    if large and image.shape[0] * image.shape[1] <= _FOURTH_CHANNEL_PAYS * sampled:
        whole = _four_channels(image)

    def sample(row: int) -> UInt8:
        source, to_crop = _averaged(image, affines[row], input_size)
        if source is image:
            source = whole
        elif large:
            source = _four_channels(source)
        cut = cv2.warpAffine(source, to_crop, (width, height), flags=cv2.INTER_LINEAR)
        return np.asarray(cut, np.uint8)

    # The crops, and what lies under them.
    return sample, height * width * sum(1 + 1 / scale**2 for scale in scales)


def _four_channels(image: UInt8) -> UInt8:
    """BGRA, whose pixels OpenCV samples to the same bytes in less than half the time."""
    import cv2

    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2BGRA), np.uint8)


def _averaged(image: UInt8, affine: Float64, input_size: tuple[int, int]) -> tuple[UInt8, Float64]:
    """The part of the image under a crop, averaged down, and the affine that goes with it."""
    import cv2

    # Plain floats: a person is a handful of numbers, for which numpy's calls cost more than sums.
    (scale, _, x), (_, _, y) = affine.tolist()
    halvings = int(math.log2(1 / scale)) if scale <= 0.5 else 0
    if halvings == 0:
        return image, affine
    factor = 2**halvings
    left, columns = _span(x, scale, input_size[1], image.shape[1], factor)
    top, rows = _span(y, scale, input_size[0], image.shape[0], factor)
    if not columns or not rows:
        return image, affine
    part = image[top : top + rows * factor, left : left + columns * factor]
    for step in reversed(range(halvings)):
        size = (columns << step, rows << step)
        part = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)
    # Cell r holds image pixels first + r * factor ... ; its centre is (factor - 1) / 2 further on.
    x += scale * (left + (factor - 1) / 2)
    y += scale * (top + (factor - 1) / 2)
    return part, np.array([[scale * factor, 0, x], [0, scale * factor, y]])


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
    planes = np.empty((len(crops), 3, *crops.shape[1:3]), np.float32)
    fill = _filler(planes, spec)
    for_each_row(lambda row: fill(row, crops[row]), len(crops), planes.size / 3)
    return planes


def _filler(planes: Float32, spec: PoseSpec) -> Callable[[int, UInt8], None]:
    """What normalises a crop (H, W, 3 or 4; a fourth channel says nothing) into a row of planes."""
    import cv2

    scale, shift = _scale_and_shift(spec.mean, spec.std)
    order = (2, 1, 0) if spec.colour == "rgb" else (0, 1, 2)
    colours = slice(2, None, -1) if spec.colour == "rgb" else slice(3)
    large = planes.shape[2] * planes.shape[3] >= _LARGE

    def fill(row: int, crop: UInt8) -> None:
        into = planes[row]
        if large:
            # Given arrays to fill, OpenCV splits in a fifth of the time: it need not copy its own.
            channels = cv2.split(crop, [np.empty(crop.shape[:2], np.uint8) for _ in crop[0, 0]])
            for plane, channel in enumerate(order):
                into[plane] = channels[channel]
        else:
            into[...] = crop[..., colours].transpose(2, 0, 1)
        into *= scale
        into += shift

    return fill


@lru_cache(maxsize=8)
def _scale_and_shift(mean: tuple[float, ...], std: tuple[float, ...]) -> tuple[Float32, Float32]:
    """What the pixels of each plane are multiplied by, and what is added then; (3, 1, 1) each."""
    scale: Float32 = np.reciprocal(np.asarray(std, np.float32))[:, None, None]
    shift: Float32 = -np.asarray(mean, np.float32)[:, None, None] * scale
    return scale, shift


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
