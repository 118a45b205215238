"""Two poses of the same person side by side: where two artefacts disagree, to be looked at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgepose.crops import apply_affines, warp_crops
from edgepose.draw import DrawStyle, draw_poses
from edgepose.files import write_bytes
from edgepose.poses import Float32, Poses, UInt8
from edgepose.spec import KeypointSet

__all__ = ["draw_pair", "write_pair"]

# Of one panel. Wide enough to see a joint that is off by a pixel of a 96 pixel wide crop.
_WIDTH = 300
# Of its height to its width, at least and at most.
_RATIOS = (0.75, 1.35)
_GAP = 6
# Beyond the box: joints and surroundings that tell where one looks.
_MARGIN = 1.35
# A dozen of them are embedded in a page.
_QUALITY = 82
_RING = (255, 255, 255)
_RING_RIM = (24, 24, 24)


def draw_pair(
    image: UInt8,
    box: Float32,
    sides: tuple[Poses, Poses],
    truth: npt.NDArray[np.floating],
    keypoints: KeypointSet,
    joint_threshold: float,
) -> UInt8:
    """The reference's pose on the left, the contender's on the right.

    The part of the photo around the person is enlarged (or shrunk) to a panel; annotated joints are
    white rings. Left limbs are blue, right ones orange.

    Args:
        image: (H, W, 3) uint8 BGR, the photo.
        box: (4,) x0 y0 x1 y1 of the person.
        sides: One person each, in the photo's pixels.
        truth: (K, 3) annotated x, y, visibility (0: not annotated).
        keypoints: Sides and limbs.
        joint_threshold: Joints with a lower score are left out.

    Returns:
        (H, 606, 3) uint8 BGR, H from 225 to 405.
    """
    to_panel, size = _view(box, image.shape)
    style = DrawStyle(joint_threshold=joint_threshold)
    ground = warp_crops(image, to_panel[None], size)[0]
    rings = apply_affines(truth[None, :, :2], to_panel[None])[0][truth[:, 2] > 0]
    panels = []
    for pose in sides:
        moved = replace(pose, keypoints=apply_affines(pose.keypoints, to_panel[None]))
        panel = draw_poses(ground, moved, keypoints, style)
        _draw_rings(panel, rings)
        panels.append(panel)
    gap = np.full((size[0], _GAP, 3), 255, np.uint8)
    return np.concatenate([panels[0], gap, panels[1]], axis=1)


def write_pair(path: Path, drawn: UInt8) -> None:
    """Write a picture as a small JPEG, whole or not at all. Raises :class:`OutputError`."""
    import cv2

    _, data = cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    write_bytes(path, data.tobytes())


def _view(
    box: Float32, image_shape: tuple[int, ...]
) -> tuple[npt.NDArray[np.float64], tuple[int, int]]:
    """(2, 3) photo -> panel, and the panel's (H, W): the box with its margin fills it."""
    corners = np.asarray(box, np.float64)
    wide, high = (corners[2:] - corners[:2]) * _MARGIN
    ratio = float(np.clip(high / wide, *_RATIOS))
    wide = max(wide, high / ratio)
    extent = np.array([wide, wide * ratio])
    photo = np.array([image_shape[1], image_shape[0]])
    # Moved, where it reaches over the photo's border, and centred on a photo smaller than it.
    first = (corners[:2] + corners[2:] - extent) / 2
    room = photo - extent
    first = np.where(room >= 0, first.clip(0, np.maximum(room, 0)), room / 2)
    scale = _WIDTH / wide
    shift = (0.5 - first) * scale - 0.5
    return np.array([[scale, 0, shift[0]], [0, scale, shift[1]]]), (round(_WIDTH * ratio), _WIDTH)


def _draw_rings(panel: UInt8, centres: Float32) -> None:
    import cv2

    for x, y in centres.clip(-2 * _WIDTH, 3 * _WIDTH):
        place = (round(float(x) * 16), round(float(y) * 16))
        for colour, thickness in ((_RING_RIM, 3), (_RING, 1)):
            cv2.circle(panel, place, 6 * 16, colour, thickness, cv2.LINE_AA, 4)
