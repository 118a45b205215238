from __future__ import annotations

import numpy as np
import pytest

from edgepose.errors import BoxError
from edgepose.estimator import Estimator
from tests.fakes import FakeRunner, brightness_maps, heatmap_spec


def spot(x: float, y: float, size: tuple[int, int] = (240, 320)) -> np.ndarray:
    """A dark image with one soft bright spot, 8 pixels wide."""
    yy, xx = np.mgrid[: size[0], : size[1]]
    bright = 255 * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / (2 * 8.0**2))
    return np.repeat(bright[..., None], 3, 2).astype(np.uint8)


@pytest.mark.parametrize("flip", [False, True])
def test_keypoints_land_where_the_image_says(flip: bool) -> None:
    pose = Estimator(FakeRunner(heatmap_spec((128, 96)), brightness_maps))
    boxes = [[100, 60, 180, 200], [90.5, 50.25, 200, 190]]
    poses = pose(spot(141.3, 122.7), boxes, flip=flip)
    assert np.abs(poses.keypoints - [141.3, 122.7]).max() < 0.3
    assert poses.scores.min() > 0.9


def test_many_boxes_are_one_call() -> None:
    runner = FakeRunner(heatmap_spec(), brightness_maps)
    poses = Estimator(runner)(spot(50, 50), np.tile([[10, 10, 90, 90]], (9, 1)))
    assert runner.batches == [9]
    assert len(poses) == 9


def test_batches_are_split_and_padded_to_buckets() -> None:
    runner = FakeRunner(heatmap_spec(), brightness_maps, max_batch=4, buckets=(1, 4))
    boxes = np.stack([np.linspace(0, 40, 6)] * 2 + [np.linspace(60, 120, 6)] * 2, 1)
    poses = Estimator(runner)(spot(70, 70), boxes)
    assert runner.batches == [4, 4]
    alone = Estimator(FakeRunner(heatmap_spec(), brightness_maps))(spot(70, 70), boxes)
    np.testing.assert_array_equal(poses.keypoints, alone.keypoints)


def test_no_boxes_means_the_whole_image_and_empty_means_nobody() -> None:
    runner = FakeRunner(heatmap_spec(), brightness_maps)
    pose = Estimator(runner)
    assert pose(spot(50, 50)).boxes.tolist() == [[0, 0, 320, 240]]
    assert len(pose(spot(50, 50), np.zeros((0, 4)))) == 0
    assert runner.batches == [1]


def test_a_box_over_the_border_is_fine_and_one_outside_is_not() -> None:
    pose = Estimator(FakeRunner(heatmap_spec(), brightness_maps))
    assert len(pose(spot(5, 5), [[-40, -40, 60, 60]])) == 1
    with pytest.raises(BoxError, match="outside"):
        pose(spot(5, 5), [[400, 0, 500, 100]])


def test_grey_image() -> None:
    pose = Estimator(FakeRunner(heatmap_spec(), brightness_maps))
    grey = spot(100, 100)[..., 0]
    np.testing.assert_array_equal(pose(grey).keypoints, pose(spot(100, 100)).keypoints)


def test_closing_closes_the_runner() -> None:
    runner = FakeRunner(heatmap_spec(), brightness_maps)
    with Estimator(runner):
        pass
    assert runner.closed
