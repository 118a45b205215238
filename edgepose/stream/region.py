"""One person without a detector: the whole frame first, then the region of the last pose.

Two states::

                    a pose good enough
      SEARCHING ─────────────────────────▶ FOLLOWING
          ▲                                    │
          └────────────────────────────────────┘
            weak for `patience` frames running, or
            region too small, or region out of frame

SEARCHING looks at the whole frame, which a top-down net is not made for: the person is small in
it. So the pose found there gives a region, the net looks again at that region, and so on for up to
`refinements` times, as long as its mean score rises.

FOLLOWING looks at the region alone: the box around the joints of the last pose, with a margin,
smoothed over time. A weak frame (a blur, somebody passing) gives no pose and lets the region grow
a little, so that the person is still inside when seen again.

All scores are compared with the one threshold above which a joint counts as seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgepose.estimator import Estimator
from edgepose.poses import Float32, Frame, Poses
from edgepose.stream.statistics import Stopwatch

__all__ = ["Region", "RegionFollower", "RegionSettings", "pose_region"]


@dataclass(frozen=True, kw_only=True)
class RegionSettings:
    """Thresholds of the state machine.

    Attributes:
        joint_threshold: Score above which a joint counts as seen.
        acquire: Mean score needed to begin following, as a share of ``joint_threshold``.
        lose: Mean score under which a frame is weak, likewise. Lower than ``acquire``, so that a
            pose near the threshold does not flicker.
        patience: Weak frames in a row after which the person is lost.
        min_joints: Joints that have to be seen for a region.
        refinements: Most looks at the region while searching.
        margin: Growth of the joints' box on each side, as a share of its size: heads, hands and
            feet reach beyond the joints.
        smoothing: Weight of the newest box in the region, 0..1.
        growth: Growth of the region on each weak frame.
        min_side: Least longer side of a region, in pixels.
        min_inside: Least share of the region's area that has to be in the frame.
    """

    joint_threshold: float = 0.3
    acquire: float = 1.0
    lose: float = 0.6
    patience: int = 5
    min_joints: int = 4
    refinements: int = 2
    margin: float = 0.2
    smoothing: float = 0.6
    growth: float = 0.1
    min_side: float = 24.0
    min_inside: float = 0.25


def pose_region(keypoints: Float32, scores: Float32, settings: RegionSettings) -> Float32 | None:
    """The box around one person's seen joints, with its margin.

    Args:
        keypoints: (K, 2) in image pixels.
        scores: (K,).
        settings: Thresholds.

    Returns:
        (4,) x0 y0 x1 y1, or None if too few joints are seen.
    """
    seen = keypoints[(scores >= settings.joint_threshold) & np.isfinite(keypoints).all(1)]
    if len(seen) < settings.min_joints:
        return None
    low, high = seen.min(0), seen.max(0)
    # Someone seen from the side is a narrow line of joints, but no narrow person.
    extent = np.maximum(high - low, (high - low).max() / 4)
    centre = (low + high) / 2
    half = extent * (0.5 + settings.margin)
    return np.concatenate([centre - half, centre + half]).astype(np.float32)


class Region:
    """The state machine by itself: told what was seen, it says where to look next.

    Attributes:
        box: (4,) where to look, or None for the whole frame (SEARCHING).
    """

    def __init__(self, settings: RegionSettings) -> None:
        self._settings = settings
        self.box: Float32 | None = None
        self._weak = 0

    @property
    def following(self) -> bool:
        """Whether someone is being followed."""
        return self.box is not None

    def acquire(self, box: Float32 | None, score: float, frame_size: tuple[int, int]) -> bool:
        """SEARCHING: begin to follow if the pose is good enough. Returns whether it is.

        Args:
            box: Region of the best pose, or None if it has none.
            score: Its mean score.
            frame_size: (H, W).
        """
        wanted = self._settings.acquire * self._settings.joint_threshold
        if box is None or score < wanted or not self.usable(box, frame_size):
            return False
        self.box, self._weak = box, 0
        return True

    def follow(self, box: Float32 | None, score: float, frame_size: tuple[int, int]) -> bool:
        """FOLLOWING: move with the pose, or note that it is weak. Returns whether it was good.

        Args:
            box: Region of the pose found, or None if it has none.
            score: Its mean score.
            frame_size: (H, W).
        """
        if self.box is None:
            raise AssertionError("nobody is being followed")
        if box is None or score < self._settings.lose * self._settings.joint_threshold:
            self._weak += 1
            self.box = _grown(self.box, self._settings.growth)
            if self._weak >= self._settings.patience:
                self.box = None
            return False
        self._weak = 0
        self.box = self.box + self._settings.smoothing * (box - self.box)
        if not self.usable(self.box, frame_size):
            self.box = None
        return True

    def fit(self, frame_size: tuple[int, int]) -> None:
        """Let go of a region that is no part of a frame of that size (streams change theirs)."""
        if self.box is not None and not self.usable(self.box, frame_size):
            self.box = None

    def usable(self, box: Float32, frame_size: tuple[int, int]) -> bool:
        """Whether a region is large enough, and enough of it inside the frame."""
        height, width = frame_size
        extent = box[2:] - box[:2]
        inside = np.minimum(box[2:], [width, height]) - np.maximum(box[:2], 0)
        share = float(inside.clip(0).prod() / max(float(extent.prod()), 1e-6))
        return float(extent.max()) >= self._settings.min_side and share >= self._settings.min_inside


class RegionFollower:
    """Pipeline for one person, by :class:`Region`.

    While searching a video, a pose that is not good enough is not reported: nobody is there. Of
    independent pictures each is searched anew, and its best pose is always reported, however weak.

    Args:
        estimator: Boxes to poses.
        settings: Thresholds.
        independent: Frames have nothing to do with each other.
    """

    def __init__(
        self, estimator: Estimator, settings: RegionSettings, *, independent: bool = False
    ) -> None:
        self._estimator = estimator
        self._settings = settings
        self._independent = independent
        self.region = Region(settings)

    def __call__(self, frame: Frame, watch: Stopwatch) -> Poses:
        """See :class:`edgepose.stream.pipeline.Pipeline`."""
        with watch("pose"):
            if self._independent:
                return self._search(frame)[0]
            self.region.fit(_size(frame))
            poses, good = self._follow(frame) if self.region.following else self._acquire(frame)
        return poses if good else Poses.empty(len(self._estimator.spec.keypoints))

    def _follow(self, frame: Frame) -> tuple[Poses, bool]:
        poses = self._look(frame, self.region.box)
        good = self.region.follow(self._region_of(poses), _mean_score(poses), _size(frame))
        return poses, good

    def _acquire(self, frame: Frame) -> tuple[Poses, bool]:
        poses, region = self._search(frame)
        return poses, self.region.acquire(region, _mean_score(poses), _size(frame))

    def _search(self, frame: Frame) -> tuple[Poses, Float32 | None]:
        """The best pose of the whole frame, and its region."""
        best = self._look(frame, None)
        for _ in range(self._settings.refinements):
            region = self._region_of(best, hopeful=True)
            if region is None or not self.region.usable(region, _size(frame)):
                break
            closer = self._look(frame, region)
            if _mean_score(closer) <= _mean_score(best):
                break
            best = closer
        return best, self._region_of(best)

    def _look(self, frame: Frame, box: Float32 | None) -> Poses:
        return self._estimator(frame.image, None if box is None else box[None])

    def _region_of(self, poses: Poses, *, hopeful: bool = False) -> Float32 | None:
        """Region of the one pose. On the whole frame joints are weak: the better half will do."""
        scores = poses.scores[0]
        if hopeful:
            scores = np.where(scores >= np.median(scores), np.inf, 0).astype(np.float32)
        return pose_region(poses.keypoints[0], scores, self._settings)


def _mean_score(poses: Poses) -> float:
    return float(poses.scores[0].mean())


def _size(frame: Frame) -> tuple[int, int]:
    height, width = frame.image.shape[:2]
    return height, width


def _grown(box: Float32, share: float) -> Float32:
    extra: npt.NDArray[np.float32] = (box[2:] - box[:2]) * np.float32(share / 2)
    return np.concatenate([box[:2] - extra, box[2:] + extra])
