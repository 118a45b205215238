from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgepose.poses import Poses
from edgepose.stream.region import Region, RegionFollower, RegionSettings, pose_region
from edgepose.stream.statistics import Stopwatch
from tests.stream.helpers import brightest_spot, frame, standing_person

FRAME = (480, 640)  # height, width
SETTINGS = RegionSettings()


class FakeEstimator:
    """Sees the one person better the tighter the box: score = person's height / box's height.

    Its joints are as far off as it is unsure, so that only a second look finds the place.
    """

    spec = brightest_spot().spec

    def __init__(self, person: np.ndarray | None) -> None:
        self.person = person
        self.looks: list[tuple[float, ...] | None] = []

    def __call__(self, image: np.ndarray, boxes: Any = None) -> Poses:
        self.looks.append(None if boxes is None else tuple(float(v) for v in boxes[0]))
        height, width = image.shape[:2]
        box = np.array([0, 0, width, height] if boxes is None else boxes[0], np.float32)
        scores, keypoints = np.full(17, 0.05), np.tile((box[:2] + box[2:]) / 2, (17, 1))
        if self.person is not None and self._inside(box):
            size = np.ptp(self.person[:, 1])
            sure = float(np.clip(size / (box[3] - box[1]), 0, 1))
            scores = np.full(17, 0.9 * sure)
            keypoints = self.person + (1 - sure) * 0.1 * size
        return Poses(
            keypoints[None].astype(np.float32),
            scores[None].astype(np.float32),
            box[None],
            np.ones(1, np.float32),
        )

    def _inside(self, box: np.ndarray) -> bool:
        assert self.person is not None
        return bool(((self.person >= box[:2]) & (self.person <= box[2:])).all(1).mean() > 0.6)


def follower(person: np.ndarray | None, **settings: Any) -> tuple[RegionFollower, FakeEstimator]:
    estimator = FakeEstimator(person)
    independent = settings.pop("independent", False)
    return (
        RegionFollower(estimator, RegionSettings(**settings), independent=independent),  # type: ignore[arg-type]
        estimator,
    )


def see(pipeline: RegionFollower, size: tuple[int, int] = FRAME) -> Poses:
    return pipeline(frame(0, size), Stopwatch())


PERSON = standing_person((320, 240), height=200)


def test_a_region_is_the_box_of_the_seen_joints_with_a_margin() -> None:
    points = np.zeros((17, 2), np.float32)
    points[:4] = [[100, 200], [200, 200], [100, 400], [200, 400]]
    scores = np.array([0.5] * 4 + [0.1] * 13, np.float32)
    region = pose_region(points, scores, SETTINGS)
    assert region is not None
    np.testing.assert_allclose(region, [80, 160, 220, 440])
    scores[3] = 0.2
    assert pose_region(points, scores, SETTINGS) is None


def test_joints_at_no_place_are_not_seen() -> None:
    points = PERSON.copy()
    points[:3] = np.nan
    region = pose_region(points, np.ones(17, np.float32), SETTINGS)
    assert region is not None
    assert np.isfinite(region).all()


def test_a_narrow_person_gets_some_width() -> None:
    points = PERSON.copy()
    points[:, 0] = 320
    region = pose_region(points, np.ones(17, np.float32), SETTINGS)
    assert region is not None
    assert region[2] - region[0] > (region[3] - region[1]) / 5


def test_the_whole_frame_first_then_closer_and_closer() -> None:
    pipeline, estimator = follower(PERSON)
    poses = see(pipeline)
    assert estimator.looks[0] is None
    assert len(estimator.looks) == 3
    heights = [480] + [look[3] - look[1] for look in estimator.looks[1:] if look]
    assert heights[1] < 320
    assert len(poses) == 1
    assert pipeline.region.following
    # The second look moved toward the person.
    assert np.abs(poses.keypoints[0] - PERSON).max() < 15


def test_then_the_region_of_the_last_pose_alone() -> None:
    pipeline, estimator = follower(PERSON)
    for _ in range(4):
        see(pipeline)
    estimator.looks.clear()
    see(pipeline)
    assert len(estimator.looks) == 1
    region = estimator.looks[0]
    assert region is not None
    assert region[0] < PERSON[:, 0].min() and region[2] > PERSON[:, 0].max()
    assert region[1] < PERSON[:, 1].min() and region[3] > PERSON[:, 1].max()
    assert region[3] - region[1] < 1.8 * np.ptp(PERSON[:, 1])


def test_it_keeps_up_with_somebody_walking() -> None:
    pipeline, estimator = follower(PERSON)
    see(pipeline)
    for step in range(1, 20):
        estimator.person = PERSON + np.array([12 * step, 0])
        poses = see(pipeline)
        assert len(poses) == 1
    assert estimator.looks.count(None) == 1
    np.testing.assert_allclose(poses.keypoints[0].mean(0), estimator.person.mean(0), atol=15)


def test_the_region_is_smoothed() -> None:
    region = Region(SETTINGS)
    box = np.array([100, 100, 200, 300], np.float32)
    assert region.acquire(box, 0.9, FRAME)
    assert region.follow(box + 10, 0.9, FRAME)
    assert region.box is not None
    np.testing.assert_allclose(region.box, box + 6)


def test_nobody_is_not_reported_and_looked_for_again() -> None:
    pipeline, estimator = follower(None)
    for _ in range(3):
        assert len(see(pipeline)) == 0
    assert not pipeline.region.following
    assert estimator.looks.count(None) == 3


def test_a_short_gap_is_bridged() -> None:
    pipeline, estimator = follower(PERSON, patience=5)
    see(pipeline)
    region = pipeline.region.box
    assert region is not None
    estimator.person = None
    for _ in range(4):
        assert len(see(pipeline)) == 0
    grown = pipeline.region.box
    assert grown is not None
    assert (grown[2:] - grown[:2] > region[2:] - region[:2]).all()
    estimator.person = PERSON
    assert len(see(pipeline)) == 1
    assert estimator.looks.count(None) == 1


def test_a_long_gap_loses_the_person_and_the_whole_frame_finds_them_again() -> None:
    pipeline, estimator = follower(PERSON, patience=5)
    see(pipeline)
    estimator.person = None
    for _ in range(5):
        see(pipeline)
    assert not pipeline.region.following
    estimator.person = PERSON - np.array([150, 20])
    poses = see(pipeline)
    assert len(poses) == 1
    assert estimator.looks.count(None) == 2
    np.testing.assert_allclose(poses.keypoints[0].mean(0), estimator.person.mean(0), atol=15)


def test_patience_counts_weak_frames_in_a_row() -> None:
    region = Region(RegionSettings(patience=3))
    box = np.array([100, 100, 200, 300], np.float32)
    region.acquire(box, 0.9, FRAME)
    for score in (0.1, 0.1, 0.9, 0.1, 0.1, 0.9):
        region.follow(box, score, FRAME)
        assert region.following
    for _ in range(3):
        region.follow(box, 0.1, FRAME)
    assert not region.following


@pytest.mark.parametrize(
    ("score", "acquired", "kept"), [(0.31, True, True), (0.29, False, True), (0.17, False, False)]
)
def test_finding_takes_a_better_pose_than_keeping(score: float, acquired: bool, kept: bool) -> None:
    box = np.array([100, 100, 200, 300], np.float32)
    assert Region(SETTINGS).acquire(box, score, FRAME) is acquired
    region = Region(SETTINGS)
    region.acquire(box, 0.9, FRAME)
    assert region.follow(box, score, FRAME) is kept


@pytest.mark.parametrize(
    "box",
    [
        [300, 200, 310, 220],  # too small
        [-400, 100, 50, 300],  # mostly out on the left
        [600, 100, 900, 300],  # mostly out on the right
        [100, 450, 300, 900],  # mostly out below
        [700, 100, 900, 300],  # out
    ],
)
def test_a_region_too_small_or_out_of_the_frame_is_let_go(box: list[float]) -> None:
    gone = np.array(box, np.float32)
    assert not Region(SETTINGS).acquire(gone, 0.9, FRAME)
    region = Region(RegionSettings(smoothing=1.0))
    region.acquire(np.array([100, 100, 200, 300], np.float32), 0.9, FRAME)
    region.follow(gone, 0.9, FRAME)
    assert not region.following


def test_a_frame_of_another_size_lets_go_of_a_region_outside_it() -> None:
    pipeline, estimator = follower(standing_person((500, 240), 200))
    see(pipeline)
    assert pipeline.region.following
    estimator.person = None
    assert len(see(pipeline, (120, 160))) == 0
    assert estimator.looks[-1] is None


def test_independent_pictures_are_each_searched_and_always_answered() -> None:
    pipeline, estimator = follower(PERSON, independent=True)
    for _ in range(2):
        assert len(see(pipeline)) == 1
    assert estimator.looks.count(None) == 2
    assert not pipeline.region.following
    estimator.person = None
    weak = see(pipeline)
    assert len(weak) == 1
    assert weak.scores.max() < 0.1


def test_with_a_real_estimator() -> None:
    """All joints on one spot: no region can be made of that, and the pose is still given."""
    pipeline = RegionFollower(brightest_spot(), SETTINGS, independent=True)
    poses = see(pipeline, (120, 160))
    assert len(poses) == 1
    # The 160 px and their padding lie on the 12 cells of a heatmap row.
    np.testing.assert_allclose(poses.keypoints[0, 0], [26, 56], atol=160 * 1.25 / 12)
