from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest

from edgepose.bench.report.plots.placing import Rectangle, place_beside, spread

FRAME = Rectangle(0, 0, 400, 300)


def test_labels_that_have_room_stay() -> None:
    assert spread([0.9, 0.1, 0.5], 0.1, 0, 1) == pytest.approx([0.9, 0.1, 0.5])
    assert spread([], 0.1, 0, 1) == []
    assert spread([7.0], 0.1, 0, 1) == [1.0]


def test_labels_that_touch_part_evenly() -> None:
    assert spread([0.5, 0.5], 0.2, 0, 1) == pytest.approx([0.4, 0.6])
    assert spread([0.0, 0.0, 0.9], 0.1, 0, 1) == pytest.approx([0.0, 0.1, 0.9])


@pytest.mark.parametrize("seed", range(20))
def test_order_gap_and_bounds_hold_anywhere(seed: int) -> None:
    random = np.random.default_rng(seed)
    wanted = list(random.random(random.integers(2, 12)))
    placed = spread(wanted, 0.1, 0.0, 1.0)
    assert np.argsort(placed, kind="stable").tolist() == np.argsort(wanted, kind="stable").tolist()
    gap = min(0.1, 1 / (len(wanted) - 1))
    assert all(b - a >= gap - 1e-9 for a, b in pairwise(sorted(placed)))
    assert min(placed) >= -1e-9
    assert max(placed) <= 1 + 1e-9


def test_a_lonely_label_stands_to_the_right() -> None:
    (spot,) = place_beside([(100, 100)], [(80, 12)], FRAME, [], 10)
    assert spot == Rectangle(110, 94, 190, 106)


def test_labels_keep_off_each_other_marks_and_the_edge() -> None:
    points = [(350.0, 100.0), (340.0, 104.0), (345.0, 96.0), (10.0, 295.0)]
    marks = [Rectangle(x - 6, y - 6, x + 6, y + 6) for x, y in points]
    placed = place_beside(points, [(90, 12)] * 4, FRAME, marks, 10)
    assert all(first.overlap(second) == 0 for first, second in combinations(placed, 2))
    assert all(spot.overlap(mark) == 0 for spot in placed for mark in marks)
    assert all(spot.outside(FRAME) == 0 for spot in placed)
