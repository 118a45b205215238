"""How large the values of a tensor are, gathered batch by batch, and the range that follows.

A histogram starts with the range of its first batch and doubles it, merging neighbouring bins,
whenever a batch goes beyond. So it never holds more than its bins, and every batch is looked at
once.

Values count by what they matter to those who read them: a channel whose weights are small may be
clipped or rounded coarsely, and nobody notices. So each channel is weighed by the energy of the
weights that it is multiplied with, and the squared error of the histogram is, up to a factor, the
expected squared error of the products.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

__all__ = ["METHODS", "Histogram", "Method"]

Method = Literal["mse", "percentile", "entropy", "minmax"]
METHODS: tuple[str, ...] = get_args(Method)

_BINS = 2**14
_COARSE = 2**11
# Ranges that are tried, each larger than the one before by the same share.
_TRIED = 128
# Share of the values whose energy the noise is compared with.
_USUAL = 0.999

Float64 = npt.NDArray[np.float64]


class Histogram:
    """Magnitudes of a tensor's values.

    Args:
        importance: (C,) what each channel counts for; all the same by default.
        axis: The tensor's axis of channels.

    Attributes:
        counts: Of magnitudes, weighed, in bins from zero to ``limit``.
        limit: The end of the last bin.
        lowest: The smallest value; zero if none is negative.
        highest: The largest value; zero if none is positive.
        peaks: (C,) the largest magnitude of each channel.
    """

    def __init__(self, importance: npt.NDArray[Any] | None = None, axis: int = 1) -> None:
        self.counts = np.zeros(_BINS)
        self.limit = 0.0
        self.lowest = 0.0
        self.highest = 0.0
        self.peaks: npt.NDArray[np.float32] = np.zeros(1, np.float32)
        self._importance = importance
        self._axis = axis

    @property
    def largest(self) -> float:
        """The largest magnitude."""
        return max(-self.lowest, self.highest)

    def add(self, values: npt.NDArray[Any]) -> None:
        """Count the values of one batch.

        Raises:
            ValueError: They are not all finite.
        """
        axis = self._axis % values.ndim
        others = tuple(a for a in range(values.ndim) if a != axis)
        low, high = values.min(others), values.max(others)  # (C,) each
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise ValueError("not all values are finite")
        self.peaks = np.maximum(self.peaks, np.maximum(-low, high))
        self.lowest = min(self.lowest, float(low.min()))
        self.highest = max(self.highest, float(high.max()))
        self.limit = self.limit or self.largest
        if self.limit == 0:
            return
        while self.largest > self.limit:
            self.counts[: _BINS // 2] = self.counts[::2] + self.counts[1::2]
            self.counts[_BINS // 2 :] = 0
            self.limit *= 2
        places = (np.abs(values, dtype=np.float32) * np.float32(_BINS / self.limit)).astype(np.intp)
        np.minimum(places, _BINS - 1, out=places)
        self.counts += np.bincount(places.ravel(), self._weights(values), minlength=_BINS)

    def amplitude(self, levels: int, method: Method, percentile: float) -> float:
        """The largest magnitude that is to be represented; what is beyond is clipped.

        Args:
            levels: Steps from zero to it.
            method: ``mse`` has the least squared error; ``percentile`` clips a share of the values;
                ``entropy`` loses least information (Migacz, "8-bit inference with TensorRT", GTC
                2017); ``minmax`` clips nothing.
            percentile: Share that is kept, in percent.

        Returns:
            A positive number; 1 for a tensor that is zero throughout.
        """
        if self.largest == 0:
            return 1.0
        if method == "minmax":
            return self.largest
        if method == "percentile":
            total = np.cumsum(self.counts)
            best = int(np.searchsorted(total, total[-1] * (percentile / 100))) + 1
        elif method == "mse":
            tried = _tried(levels, _BINS)
            best = int(tried[np.argmin(self._squared_errors(tried * self.limit / _BINS, levels))])
        else:
            # Fewer bins: where values are few, most of the fine ones are empty by chance.
            coarse = self.counts.reshape(_COARSE, -1).sum(1)
            tried = _tried(levels, _COARSE)
            kept = int(tried[np.argmin([_divergence(coarse, n, levels) for n in tried])])
            best = kept * (_BINS // _COARSE)
        return min(self.limit * best / _BINS, self.largest)

    def noise(self, amplitude: float, levels: int) -> float:
        """Energy of rounding and clipping to that range, as a share of the values' own.

        The largest thousandth of the values does not count for the latter. A few values that are a
        thousand times as large as all others would hide that nothing is left of those.
        """
        usual = np.cumsum(self.counts) <= self.counts.sum() * _USUAL
        energy = float(self.counts[usual] @ self._centres[usual] ** 2)
        error = float(self._squared_errors([amplitude], levels)[0])
        return error / energy if energy else float(error > 0)

    @property
    def _centres(self) -> Float64:
        return np.asarray((np.arange(_BINS) + 0.5) * (self.limit / _BINS), np.float64)

    def _weights(self, values: npt.NDArray[Any]) -> Float64 | None:
        if self._importance is None:
            return None
        shape = [1] * values.ndim
        shape[self._axis] = -1
        spread = np.broadcast_to(self._importance.reshape(shape), values.shape)
        return np.asarray(spread.ravel(), np.float64)

    def _squared_errors(self, amplitudes: Iterable[float], levels: int) -> Float64:
        held = self.counts > 0
        counts, centres = self.counts[held], self._centres[held]
        errors = []
        for amplitude in amplitudes:
            step = amplitude / levels
            rounded = np.minimum(np.rint(centres / step), levels) * step
            errors.append(counts @ (centres - rounded) ** 2)
        return np.array(errors, np.float64)


def _tried(levels: int, bins: int) -> npt.NDArray[np.intp]:
    """Numbers of bins to keep."""
    return np.unique(np.geomspace(levels + 1, bins, _TRIED).round().astype(np.intp))


def _divergence(counts: Float64, kept: int, levels: int) -> float:
    """Kullback-Leibler divergence of the quantised from the clipped distribution.

    The first bin is left out: behind a ReLU it holds the zeros, which every scale represents.
    """
    values = counts.copy()
    values[0] = 0
    clipped = values[:kept].copy()
    clipped[-1] += values[kept:].sum()
    # Each level spreads what it holds evenly over those of its bins that hold anything.
    level = np.arange(kept) * (levels + 1) // kept
    filled = values[:kept] > 0
    held = np.bincount(level, values[:kept], levels + 1)
    among = np.maximum(np.bincount(level, filled, levels + 1), 1)
    spread = np.where(filled, (held / among)[level], 0.0)
    if not spread.any():
        return np.inf
    p, q = clipped / clipped.sum(), spread / spread.sum()
    inside = p > 0
    # The last bin may hold only what was clipped: nearly nothing in the other one.
    return float((p[inside] * np.log(p[inside] / np.maximum(q[inside], 1e-9))).sum())
