from __future__ import annotations

import numpy as np
import pytest

from edgepose.errors import BoxError, ImageError
from edgepose.poses import Poses, check_boxes, check_image


def test_poses_refuse_shapes_that_do_not_fit() -> None:
    with pytest.raises(
        ValueError, match=r"keypoints has shape \(2, 16, 2\), expected \(2, 17, 2\)"
    ):
        Poses(np.zeros((2, 16, 2)), np.zeros((2, 17)), np.zeros((2, 4)), np.zeros(2))


def test_poses_to_dicts_and_coco() -> None:
    poses = Poses(
        np.array([[[1, 2], [3, 4]]], np.float32),
        np.array([[0.5, 1.0]], np.float32),
        np.array([[0, 0, 10, 20]], np.float32),
        np.array([0.5], np.float32),
    )
    (person,) = poses.to_dicts()
    assert person["keypoints"] == [[1, 2, 0.5], [3, 4, 1]]
    assert person["box"] == [0, 0, 10, 20]
    assert person["score"] == pytest.approx(0.375)
    (entry,) = poses.to_coco(7)
    assert entry["image_id"] == 7
    assert entry["keypoints"] == [1, 2, 0.5, 3, 4, 1]


def test_empty_poses() -> None:
    empty = Poses.empty(17)
    assert len(empty) == 0
    assert empty.to_dicts() == []
    assert empty.pose_scores.shape == (0,)


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 1), (6, 5, 4)])
def test_grey_and_bgra_images_become_bgr(shape: tuple[int, ...]) -> None:
    image = np.full(shape, 7, np.uint8)
    assert check_image(image).shape == (6, 5, 3)
    assert (check_image(image) == 7).all()


def test_sixteen_bits_are_scaled() -> None:
    image = np.array([[[0, 257 * 5, 65535]]], np.uint16)
    assert check_image(image).tolist() == [[[0, 5, 255]]]


@pytest.mark.parametrize(
    "image",
    [
        None,
        [[1]],
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 3)),
    ],
    ids=["none", "list", "two channels", "no pixels", "float"],
)
def test_other_images_are_refused(image: object) -> None:
    with pytest.raises(ImageError):
        check_image(image)


@pytest.mark.parametrize(
    ("boxes", "words"),
    [
        ([[0, 0, 10, float("nan")]], "not finite"),
        ([[0, 0, float("inf"), 5]], "not finite"),
        ([[1, 1, 5, 5], [5, 5, 5, 9]], "box 1 .*no area"),
        ([[9, 9, 5, 12]], "no area"),
        ([[100, 0, 120, 10]], "outside the 50x40 image"),
        ([[-20, 0, 0, 10]], "outside"),
        ([[1, 2, 3]], "shape"),
        ("abc", "numbers"),
    ],
)
def test_bad_boxes(boxes: object, words: str) -> None:
    with pytest.raises(BoxError, match=words):
        check_boxes(boxes, (40, 50, 3))


def test_good_boxes() -> None:
    assert check_boxes([1, 2, 3, 4]).shape == (1, 4)
    assert check_boxes([]).shape == (0, 4)
    assert check_boxes([[-5, -5, 60, 60]], (40, 50)).dtype == np.float32
