from __future__ import annotations

import numpy as np
import pytest

from edgepose.bench import paired_ratio, summary


def test_golden_summary() -> None:
    figures = summary([[1.0, 2.0, 3.0], [4.0, 5.0, 105.0]])
    assert figures == {
        "p50": 3.5,
        "p90": 55.0,  # halfway between the fifth and the sixth of six
        "p95": 80.0,
        "p99": 100.0,
        "max": 105.0,
        "min": 1.0,
        "mean": 20.0,
        "std": 38.035,  # the square root of 8680 / 6
        "jitter": 25.75,  # (1 + 1 + 1 + 100) / 4: 3 -> 4 lies between two rounds
    }


def test_jitter_is_of_successive_calls() -> None:
    assert summary([1.0, 3.0, 1.0, 3.0])["jitter"] == 2
    assert summary([1.0, 1.0, 3.0, 3.0])["jitter"] == pytest.approx(2 / 3, abs=1e-3)
    assert summary([[1.0], [3.0], [1.0]])["jitter"] == 2  # one call a round: between rounds then
    assert summary([5.0])["jitter"] == 0


def test_a_ratio_is_taken_within_rounds() -> None:
    """The machine slows down threefold half-way; both sides with it, the ratio stays."""
    drift = np.where(np.arange(20) < 10, 1.0, 3.0)[:, None]
    baseline = 10 * drift * np.ones((20, 4))
    ratio = paired_ratio(0.7 * baseline, baseline)
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((0.7, 0.7, 0.7))


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for trial in range(100):
        baseline = rng.normal(10, 0.5, (25, 3))
        contender = rng.normal(8, 0.5, (25, 3))
        ratio = paired_ratio(contender, baseline, draws=500, seed=trial)
        assert ratio.low <= ratio.value <= ratio.high
        held += ratio.low <= 0.8 <= ratio.high
    assert held >= 88


def test_one_slow_round_moves_neither_value_nor_interval_far() -> None:
    baseline = np.full((21, 3), 10.0)
    contender = np.full((21, 3), 9.0)
    contender[4] = 400
    ratio = paired_ratio(contender, baseline)
    assert (ratio.value, ratio.high) == pytest.approx((0.9, 0.9))


def test_rounds_that_cannot_be_paired_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be paired"):
        paired_ratio(np.ones((3, 2)), np.ones((4, 2)))
    with pytest.raises(ValueError, match="cannot be paired"):
        paired_ratio(np.ones((1, 2)), np.ones((1, 2)))
