from __future__ import annotations

import math

import numpy as np
import pytest

from edgepose.evaluate import oks_nms
from edgepose.spec import COCO_KEYPOINTS

SIGMAS = COCO_KEYPOINTS.sigmas


def oks_by_hand(one: np.ndarray, other: np.ndarray, areas: tuple[float, float]) -> float:
    """Over all joints, with the mean of the two areas."""
    terms = []
    for joint, sigma in enumerate(SIGMAS):
        dx, dy = one[joint] - other[joint]
        terms.append(math.exp(-(dx * dx + dy * dy) / (2 * sum(areas) / 2 * (2 * sigma) ** 2)))
    return sum(terms) / len(terms)


def kept_by_hand(points: np.ndarray, scores: np.ndarray, areas: np.ndarray, limit: float) -> list:
    """Best first; who is too like somebody better is out."""
    kept: list[int] = []
    for row in sorted(range(len(scores)), key=lambda r: (-scores[r], r)):
        if all(
            oks_by_hand(points[row], points[other], (areas[row], areas[other])) <= limit
            for other in kept
        ):
            kept.append(row)
    return kept


@pytest.mark.parametrize("limit", [0.3, 0.6, 0.9])
def test_it_is_what_the_rule_says(limit: float) -> None:
    rng = np.random.default_rng(1)
    base = rng.uniform(0, 100, (4, 1, 17, 2)) + np.zeros((1, 6, 1, 1))
    points = (base + rng.normal(0, 4, base.shape) * rng.uniform(0, 2, (4, 6, 1, 1))).reshape(
        24, 17, 2
    )
    scores = np.round(rng.uniform(0, 1, 24), 1)  # with ties
    areas = rng.uniform(2000, 20000, 24)
    kept = oks_nms(points, scores, areas, SIGMAS, limit).tolist()
    assert kept == kept_by_hand(points, scores, areas, limit)
    assert 1 < len(kept) < 24


def test_the_better_of_two_doubles_stays() -> None:
    points = np.random.default_rng(0).uniform(0, 100, (1, 17, 2)).repeat(3, 0)
    points[2] += 60
    assert oks_nms(points, [0.4, 0.7, 0.1], [5000.0] * 3, SIGMAS).tolist() == [1, 2]
    assert oks_nms(points, [0.4, 0.4, 0.1], [5000.0] * 3, SIGMAS).tolist() == [0, 2]
    assert oks_nms(points[:0], [], [], SIGMAS).tolist() == []
