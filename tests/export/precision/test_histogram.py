from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from edgepose.export.precision.histogram import Histogram, Method


def drawn(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def filled(*batches: np.ndarray, **more: object) -> Histogram:
    histogram = Histogram(**more)  # type: ignore[arg-type] - the tests' own arguments
    for batch in batches:
        histogram.add(np.asarray(batch, np.float32))
    return histogram


def lost(values: np.ndarray, amplitude: float, levels: int = 127) -> float:
    """Squared error of quantising the values themselves, not their histogram."""
    step = amplitude / levels
    return float(((values - np.clip(np.rint(values / step), -levels, levels) * step) ** 2).sum())


def test_batches_count_the_same_in_any_order_and_beyond_the_first_range() -> None:
    values = drawn().standard_t(3, (6, 500)).astype(np.float32)
    values[4, 3] = 37.0  # far beyond what the first batches show
    whole = filled(values)
    for order in (range(6), (4, 0, 1, 2, 3, 5)):
        parts = filled(*(values[i] for i in order))
        assert parts.counts.sum() == whole.counts.sum() == values.size
        assert (parts.lowest, parts.highest) == (values.min(), 37.0)
        assert parts.amplitude(127, "percentile", 99.0) == pytest.approx(
            float(np.quantile(np.abs(values), 0.99)), rel=0.01
        )


def test_the_least_squared_error_is_found() -> None:
    values = drawn().laplace(size=50_000).astype(np.float32)
    chosen = filled(values).amplitude(127, "mse", 0)
    best = min(np.linspace(2, 14, 200), key=lambda amplitude: lost(values, amplitude))
    assert lost(values, chosen) == pytest.approx(lost(values, best), rel=0.02)
    assert lost(values, chosen) < lost(values, float(np.abs(values).max()))


@pytest.mark.parametrize("method", get_args(Method))
def test_every_method_gives_a_range_within_the_values(method: Method) -> None:
    values = drawn().standard_t(3, 300_000).astype(np.float32)
    amplitude = filled(values).amplitude(127, method, 99.9)
    largest = float(np.abs(values).max())
    if method == "minmax":
        assert amplitude == pytest.approx(largest)
    else:
        assert 1 < amplitude < largest
    assert filled(np.zeros((2, 3))).amplitude(127, method, 99.9) == 1


def test_finer_bins_than_levels_let_entropy_clip() -> None:
    """With as many bins as levels entropy cannot tell ranges apart and gives the largest value."""
    values = np.concatenate([drawn().normal(size=50_000), [40.0]])
    assert filled(values).amplitude(127, "entropy", 0) < 10


def test_channels_count_by_the_weights_that_read_them() -> None:
    values = drawn().normal(size=(4, 2, 500)).astype(np.float32)
    values[:, 1] *= 100
    plain = filled(values).amplitude(127, "mse", 0)
    deaf = filled(values, importance=np.array([1.0, 1e-9])).amplitude(127, "mse", 0)
    assert plain > 200
    assert deaf == pytest.approx(filled(values[:, 0]).amplitude(127, "mse", 0), rel=0.1)


def test_peaks_are_of_each_channel() -> None:
    values = np.array([[[1, -2], [0, 3]], [[0, 0], [-5, 0]]], np.float32)
    assert filled(values[:1], values[1:]).peaks.tolist() == [2, 5]
    assert filled(values, axis=-1).peaks.tolist() == [5, 3]


def test_noise_is_the_share_of_energy_that_is_lost() -> None:
    values = drawn().normal(size=50_000).astype(np.float32)
    histogram = filled(values)
    for amplitude in (1.0, 4.0):
        share = lost(values, amplitude) / float((values.astype(np.float64) ** 2).sum())
        assert histogram.noise(amplitude, 127) == pytest.approx(share, rel=0.05)
    assert filled(np.zeros(5)).noise(1.0, 127) == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        filled(np.array([0.0, bad]))
