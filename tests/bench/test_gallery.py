from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgepose.bench.gallery import draw_pair, write_pair
from edgepose.draw import DrawStyle
from edgepose.errors import OutputError
from edgepose.images import read_image
from edgepose.poses import Poses
from edgepose.spec import COCO_KEYPOINTS
from tests.evaluate.folders import STANDING

GREY = (70, 70, 70)


def pose(box: list[float], moved: float = 0.0, score: float = 0.9) -> Poses:
    x0, y0, x1, y1 = box
    points = STANDING * (x1 - x0, y1 - y0) + (x0 + moved, y0)
    return Poses(
        points[None].astype(np.float32),
        np.full((1, 17), score, np.float32),
        np.array([box], np.float32),
        np.ones(1, np.float32),
    )


def drawn(box: list[float], size: tuple[int, int] = (480, 640), **changes: float) -> np.ndarray:
    image = np.full((*size, 3), GREY, np.uint8)
    truth = np.zeros((17, 3))
    truth[3, :] = (*pose(box).keypoints[0, 3], 2)
    sides = (pose(box), pose(box, **changes))
    return draw_pair(image, np.array(box, np.float32), sides, truth, COCO_KEYPOINTS, 0.2)


def close(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (np.abs(picture.astype(int) - colour) < 12).all(-1)


def test_left_is_the_reference_and_right_the_contender() -> None:
    picture = drawn([200, 100, 300, 300], moved=20)
    left, right = picture[:, :300], picture[:, 306:]
    assert picture.shape == (405, 606, 3)
    assert (picture[:, 300:306] == 255).all()
    style = DrawStyle()
    for colour in (style.left, style.right):
        columns = [np.flatnonzero(close(side, colour).any(0)) for side in (left, right)]
        # 20 px of the photo are 30 of the panel: 405 px show 1.35 times the box's 200.
        shift = columns[1].min() - columns[0].min()
        assert shift == pytest.approx(20 * 1.5, abs=1.5)


def test_the_person_fills_the_panel_and_the_ring_is_where_the_joint_is() -> None:
    picture = drawn([200, 100, 300, 300])[:, :300]
    rows = np.flatnonzero(close(picture, DrawStyle().right).any(1))
    assert 0.55 < np.ptp(rows) / len(picture) < 0.8
    ring = np.argwhere((picture > 245).all(-1))
    # left_ear: .60 and .08 of a box whose margin is .35, half on each side.
    expected = ((0.08 * 200 + 35) * 1.5, 150 + (0.60 - 0.5) * 100 * 1.5)
    assert ring.mean(0) == pytest.approx(expected, abs=2)


def test_joints_that_nobody_is_sure_of_are_left_out() -> None:
    picture = drawn([200, 100, 300, 300], score=0.1)
    assert close(picture[:, :300], DrawStyle().right).any()
    assert not close(picture[:, 306:], DrawStyle().right).any()


@pytest.mark.parametrize("box", [[-30, 10, 90, 230], [560, 300, 660, 500], [0, 0, 12, 17]])
def test_at_the_border_the_view_moves_into_the_photo(box: list[float]) -> None:
    picture = drawn([float(v) for v in box])
    inside = np.isin(picture[:, :300].reshape(-1, 3).sum(1), sum(GREY))
    assert inside.mean() > 0.7
    assert not close(picture[2:-2, 2:298], (0, 0, 0)).all(0).any()


def test_a_wide_person_in_a_small_photo() -> None:
    picture = drawn([5.0, 5.0, 95.0, 25.0], (30, 100))
    assert picture.shape == (225, 606, 3)


def test_written_whole_or_not_at_all(tmp_path: Path) -> None:
    picture = drawn([200, 100, 300, 300])
    write_pair(tmp_path / "new" / "a.jpg", picture)
    again = read_image(tmp_path / "new" / "a.jpg")
    assert np.abs(again.astype(int) - picture).mean() < 3
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.jpg"]
    with pytest.raises(OutputError):
        write_pair(tmp_path / "new" / "a.jpg" / "b.jpg", picture)
