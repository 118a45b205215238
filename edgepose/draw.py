"""Skeletons on pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgepose.poses import Float32, Poses, UInt8
from edgepose.spec import KeypointSet

__all__ = ["DrawStyle", "draw_poses"]

Colour = tuple[int, int, int]

# Sub-pixel positions: OpenCV takes integers with this many fractional bits.
_SHIFT = 4


@dataclass(frozen=True, kw_only=True)
class DrawStyle:
    """How to draw.

    Attributes:
        joint_threshold: Joints with a lower score, and limbs that end in one, are left out.
        boxes: Draw the boxes the poses were looked for in, with the pose scores.
        left: BGR colour of the person's left side.
        right: BGR colour of the right side.
        middle: BGR colour of what is neither.
        outline: BGR colour of the rim around limbs and joints.
        box: BGR colour of boxes.
    """

    joint_threshold: float = 0.3
    boxes: bool = False
    left: Colour = (255, 176, 46)
    right: Colour = (54, 127, 255)
    middle: Colour = (120, 230, 130)
    outline: Colour = (32, 28, 24)
    box: Colour = (235, 235, 235)


def draw_poses(
    image: UInt8, poses: Poses, keypoints: KeypointSet, style: DrawStyle | None = None
) -> UInt8:
    """A copy of the image with the skeletons on it.

    Limbs are as thick as suits the size of the person, coloured by side, and anti-aliased; nearer
    people (larger boxes) are drawn over farther ones.

    Args:
        image: (H, W, 3) uint8 BGR.
        poses: The people.
        keypoints: Names (for the sides) and limbs.
        style: Colours and threshold.

    Returns:
        (H, W, 3) uint8 BGR.
    """
    style = style or DrawStyle()
    canvas = image.copy()
    colours = [_side(name, style) for name in keypoints.names]
    extent = poses.boxes[:, 2:] - poses.boxes[:, :2]  # (N, 2)
    for index in np.argsort(extent.prod(1), kind="stable"):
        if style.boxes:
            _draw_box(canvas, poses.boxes[index], float(poses.pose_scores[index]), style)
        _draw_person(canvas, poses.keypoints[index], poses.scores[index], keypoints, colours, style)
    return canvas


def _side(name: str, style: DrawStyle) -> Colour:
    if name.startswith("left"):
        return style.left
    return style.right if name.startswith("right") else style.middle


def _draw_person(
    canvas: UInt8,
    points: Float32,
    scores: Float32,
    keypoints: KeypointSet,
    colours: list[Colour],
    style: DrawStyle,
) -> None:
    import cv2

    height, width = canvas.shape[:2]
    # Far outside the picture a line is as good as endless, and OpenCV's integers are not.
    reach = 2.0 * max(height, width)
    seen = (scores >= style.joint_threshold) & np.isfinite(points).all(1)
    if not seen.any():
        return
    fixed = _fixed(np.where(seen[:, None], points, 0).clip(-reach, reach))
    thickness = _thickness(points[seen])
    rim = 0 if thickness < 2 else max(2, thickness // 2)
    limbs = [(a, b) for a, b in keypoints.skeleton if seen[a] and seen[b]]
    # All rims first: one limb's rim must not cut through another limb.
    for pass_rim in (True, False) if rim else (False,):
        for a, b in limbs:
            colour = colours[a] if colours[a] == colours[b] else style.middle
            cv2.line(
                canvas,
                fixed[a],
                fixed[b],
                style.outline if pass_rim else colour,
                thickness + (rim if pass_rim else 0),
                cv2.LINE_AA,
                _SHIFT,
            )
    radius = thickness * 1.1 + 0.5
    for joint in np.flatnonzero(seen):
        if rim:
            _disc(canvas, fixed[joint], radius + rim / 2, style.outline)
        _disc(canvas, fixed[joint], radius, colours[joint])


def _disc(canvas: UInt8, centre: tuple[int, int], radius: float, colour: Colour) -> None:
    import cv2

    cv2.circle(canvas, centre, round(radius * (1 << _SHIFT)), colour, -1, cv2.LINE_AA, _SHIFT)


def _draw_box(canvas: UInt8, box: Float32, score: float, style: DrawStyle) -> None:
    import cv2

    # The box's edges are continuous coordinates; pixel centres lie half a pixel before.
    corners = _fixed(box.reshape(2, 2) - 0.5)
    cv2.rectangle(canvas, corners[0], corners[1], style.box, 1, cv2.LINE_AA, _SHIFT)
    text, font = f"{score:.2f}", cv2.FONT_HERSHEY_SIMPLEX
    scale = float(np.clip((box[3] - box[1]) / 500, 0.4, 0.8))
    (width, height), below = cv2.getTextSize(text, font, scale, 1)
    left, bottom = max(0, round(float(box[0]))), max(height + below, round(float(box[1])))
    cv2.rectangle(
        canvas, (left, bottom - height - below), (left + width + 3, bottom), style.outline, -1
    )
    place = (left + 2, bottom - below // 2 - 1)
    cv2.putText(canvas, text, place, font, scale, style.box, 1, cv2.LINE_AA)


def _thickness(seen: Float32) -> int:
    """About a hundredth of the person's size, in pixels."""
    extent = float(np.ptp(seen, axis=0).max())
    return int(np.clip(round(extent / 90), 1, 12))


def _fixed(points: npt.NDArray[np.floating]) -> list[tuple[int, int]]:
    """Fixed-point integers of OpenCV's ``shift`` form."""
    rounded = np.rint(points * (1 << _SHIFT)).astype(int)
    return [(int(x), int(y)) for x, y in rounded]
