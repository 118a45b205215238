from __future__ import annotations

import numpy as np
import pytest

from edgepose.bench import paired_ratio, summary
from edgepose.bench.statistics import unsteadiness


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
        assert ratio.interval is not None
        low, high = ratio.interval
        assert low <= ratio.value <= high
        held += low <= 0.8 <= high
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


def test_few_rounds_give_a_ratio_and_no_interval() -> None:
    for rounds in (2, 5):
        ratio = paired_ratio(np.full((rounds, 3), 9.0), np.full((rounds, 3), 10.0))
        assert (ratio.value, ratio.interval) == (0.9, None)
    assert paired_ratio(np.full((6, 3), 9.0), np.full((6, 3), 10.0)).interval == (0.9, 0.9)


@pytest.mark.parametrize("rounds", [6, 10, 20])
def test_intervals_of_the_fewest_rounds_are_not_far_from_what_they_promise(rounds: int) -> None:
    rng = np.random.default_rng(1)
    held = 0
    for trial in range(200):
        ratio = paired_ratio(
            rng.normal(8, 0.5, (rounds, 3)), rng.normal(10, 0.5, (rounds, 3)), 300, trial
        )
        assert ratio.interval is not None
        held += ratio.interval[0] <= 0.8 <= ratio.interval[1]
    assert held >= 176  # 88 %


def test_unsteadiness_is_of_turns_and_not_of_the_calls_in_them() -> None:
    rng = np.random.default_rng(0)
    steady = np.full((40, 3), 20.0)
    steady[:, 0] = 50.0  # one call of each turn is slow: the artefact's own doing
    assert unsteadiness([steady]) == 1.0
    shaken = steady * rng.choice([1.0, 1.4], 40, p=[0.4, 0.6])[:, None]
    assert unsteadiness([shaken]) == pytest.approx(1.4)
    assert unsteadiness([steady, shaken, steady]) == 1.0


def test_unsteadiness_needs_turns_that_took_time() -> None:
    assert unsteadiness([]) is None
    assert unsteadiness([[[1.0, 2.0]] * 5]) is None
    assert unsteadiness([[[0.0]] * 20, [[]] * 20]) is None
    assert unsteadiness([[[1.0], [1.0, 1.0, 1.0], [], *[[1.0]] * 4]]) == 1.0  # rounds of any length
