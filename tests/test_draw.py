from __future__ import annotations

import numpy as np
import pytest

from edgepose.draw import DrawStyle, draw_poses
from edgepose.poses import Poses
from edgepose.spec import COCO_KEYPOINTS, KeypointSet
from tests.stream.helpers import poses_of, standing_person

STYLE = DrawStyle()
BLANK = np.full((240, 320, 3), 128, np.uint8)
PERSON = standing_person((160, 120), 200)


def changed(image: np.ndarray) -> np.ndarray:
    return (image != BLANK[: image.shape[0], : image.shape[1]]).any(2)


def near(image: np.ndarray, point: np.ndarray) -> np.ndarray:
    x, y = np.rint(point).astype(int)
    return image[y, x]


def test_the_image_itself_is_left_alone() -> None:
    image = BLANK.copy()
    drawn = draw_poses(image, poses_of(PERSON), COCO_KEYPOINTS)
    np.testing.assert_array_equal(image, BLANK)
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8


def test_joints_and_limbs_are_where_they_belong_in_the_colour_of_their_side() -> None:
    drawn = draw_poses(BLANK, poses_of(PERSON), COCO_KEYPOINTS, STYLE)
    for index, name in enumerate(COCO_KEYPOINTS.names):
        if index < 5:
            continue  # the face is so small that its dots overlap
        side = {"left": STYLE.left, "right": STYLE.right}[name.split("_")[0]]
        np.testing.assert_array_equal(near(drawn, PERSON[index]), side, err_msg=name)
    thigh = (PERSON[11] + PERSON[13]) / 2
    np.testing.assert_array_equal(near(drawn, thigh), STYLE.left)
    shoulders = (PERSON[5] + PERSON[6]) / 2
    np.testing.assert_array_equal(near(drawn, shoulders), STYLE.middle)


def test_weak_joints_and_their_limbs_are_left_out() -> None:
    poses = poses_of(PERSON)
    poses.scores[0, 9] = 0.29  # left wrist
    drawn = draw_poses(BLANK, poses, COCO_KEYPOINTS, STYLE)
    np.testing.assert_array_equal(near(drawn, PERSON[9]), BLANK[0, 0])
    np.testing.assert_array_equal(near(drawn, (PERSON[7] + 2 * PERSON[9]) / 3), BLANK[0, 0])
    np.testing.assert_array_equal(near(drawn, PERSON[7]), STYLE.left)
    loose = DrawStyle(joint_threshold=0.2)
    redrawn = draw_poses(BLANK, poses, COCO_KEYPOINTS, loose)
    np.testing.assert_array_equal(near(redrawn, PERSON[9]), STYLE.left)


@pytest.mark.parametrize("poses", [Poses.empty(17), poses_of(PERSON, score=0.1)])
def test_nobody_leaves_the_picture_as_it_is(poses: Poses) -> None:
    np.testing.assert_array_equal(draw_poses(BLANK, poses, COCO_KEYPOINTS, STYLE), BLANK)


def test_lines_grow_with_the_person() -> None:
    large = np.full((1200, 1600, 3), 128, np.uint8)
    shares = []
    for height in (100, 1000):
        drawn = draw_poses(
            large, poses_of(standing_person((800, 600), height)), COCO_KEYPOINTS, STYLE
        )
        shares.append((drawn != 128).any(2).sum() / height**2)
    # The same share of the person's area, within a factor of 2.5; a fixed width would give 10.
    assert 1 / 2.5 < shares[0] / shares[1] < 2.5


def test_limbs_are_antialiased() -> None:
    drawn = draw_poses(BLANK, poses_of(PERSON), COCO_KEYPOINTS, STYLE)
    plain = {STYLE.left, STYLE.right, STYLE.middle, STYLE.outline, tuple(BLANK[0, 0].tolist())}
    mixed = {tuple(pixel) for pixel in drawn.reshape(-1, 3).tolist()} - plain
    assert len(mixed) > 50


def test_boxes_and_scores_on_request() -> None:
    poses = poses_of(PERSON)
    x, y = poses.boxes[0, :2].astype(int)
    without = draw_poses(BLANK, poses, COCO_KEYPOINTS, STYLE)
    framed = draw_poses(BLANK, poses, COCO_KEYPOINTS, DrawStyle(boxes=True))
    column = slice(y + 20, y + 60), slice(x - 1, x + 2)
    assert not changed(without)[column].any()
    assert changed(framed)[column].any(1).all()


def test_joints_anywhere_and_nowhere() -> None:
    wild = PERSON.copy()
    wild[5:9] = [[np.nan, 3], [1e9, -1e9], [-5000, 50], [np.inf, 0]]
    drawn = draw_poses(BLANK, poses_of(wild), COCO_KEYPOINTS, STYLE)
    np.testing.assert_array_equal(near(drawn, PERSON[15]), STYLE.left)


def test_the_nearer_person_is_on_top() -> None:
    behind = standing_person((160, 120), 100)
    front = standing_person((160, 120), 200)
    poses = poses_of(front, behind)
    drawn = draw_poses(BLANK, poses, COCO_KEYPOINTS, STYLE)
    alone = draw_poses(BLANK, poses_of(front), COCO_KEYPOINTS, STYLE)
    own = changed(alone) & (alone == np.array(STYLE.left)).all(2)
    np.testing.assert_array_equal(drawn[own], alone[own])


def test_other_keypoint_sets() -> None:
    three = KeypointSet(
        names=("a", "b", "c"), flip_pairs=(), skeleton=((0, 1),), sigmas=(0.1, 0.1, 0.1)
    )
    poses = Poses(
        np.array([[[20, 20], [100, 20], [100, 100]]], np.float32),
        np.ones((1, 3), np.float32),
        np.array([[10, 10, 110, 110]], np.float32),
        np.ones(1, np.float32),
    )
    drawn = draw_poses(BLANK, poses, three, STYLE)
    np.testing.assert_allclose(drawn[20, 60].astype(int), STYLE.middle, atol=12)
    np.testing.assert_array_equal(drawn[60, 100], BLANK[0, 0])
