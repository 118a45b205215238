from __future__ import annotations

import math

import numpy as np
import pytest

from edgepose.evaluate import joint_similarities, oks, pose_scores, ranking_threshold
from edgepose.spec import COCO_KEYPOINTS

SIGMAS = COCO_KEYPOINTS.sigmas


def test_a_known_distance_gives_the_formula_of_the_coco_page() -> None:
    """A wrist (sigma 0.062) 10 px off on a person of 10,000 px: exp(-100 / (2 * 10^4 * .124^2))."""
    truth = np.zeros((1, 17, 3))
    truth[0, 9] = (50, 60, 2)
    predicted = truth[..., :2].copy()
    predicted[0, 9] = (56, 68)
    value = oks(predicted, truth, [10_000.0], SIGMAS)[0]
    assert value == pytest.approx(math.exp(-100 / (2 * 10_000 * (2 * 0.062) ** 2)), rel=1e-12)
    assert value == pytest.approx(0.7224, abs=5e-5)


def test_joints_without_annotation_do_not_count() -> None:
    truth = np.ones((1, 17, 3))
    truth[0, 5:, 2] = 0
    predicted = truth[..., :2].copy()
    predicted[0, 5:] = 1e6
    assert oks(predicted, truth, [900.0], SIGMAS)[0] == 1
    similar = joint_similarities(predicted, truth, [900.0], SIGMAS)
    assert np.isnan(similar[0, 5:]).all()
    assert np.isnan(oks(predicted, truth * [1, 1, 0], [900.0], SIGMAS)).all()


def test_a_certain_joint_of_a_small_simcc_crop_counts_for_the_rank() -> None:
    assert ranking_threshold("heatmap") == 0.2
    assert ranking_threshold("simcc") == 0


def test_ranking_score_is_the_mean_above_two_tenths_times_the_box() -> None:
    scores = [[0.1, 0.2, 0.4, 0.8], [0.1, 0.1, 0.2, 0.05]]
    np.testing.assert_allclose(pose_scores(scores), [0.6, 0])
    np.testing.assert_allclose(pose_scores(scores, [0.5, 1]), [0.3, 0])
