"""Percentiles of times, and ratios of paired times with their uncertainty."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["LEAST_ROUNDS", "Interval", "Ratio", "paired_ratio", "summary", "unsteadiness"]

Interval = tuple[float, float]

# The smallest and the largest of n rounds hold the true median between them in 1 - 2 / 2^n of all
# cases: 50 % of two rounds, 94 % of five, 97 % of six. Fewer than six give no 95 % interval.
LEAST_ROUNDS = 6


@dataclass(frozen=True)
class Ratio:
    """A ratio of times: below 1, the contender is faster.

    Attributes:
        value: Median over rounds of contender / baseline.
        low: Lower end of the 95 % bootstrap interval; None of fewer than 6 rounds.
        high: Upper end, likewise.
    """

    value: float
    low: float | None
    high: float | None

    @property
    def interval(self) -> Interval | None:
        """Both ends."""
        return None if self.low is None or self.high is None else (self.low, self.high)


def summary(milliseconds: npt.ArrayLike) -> dict[str, float]:
    """Percentiles, extremes, mean, spread and jitter of all samples, rounded to a microsecond.

    Args:
        milliseconds: (calls,) or (rounds, calls), in the order they were taken.

    Returns:
        ``p50``, ``p90``, ``p95``, ``p99``, ``max``, ``min``, ``mean``, ``std``, and ``jitter``: the
        mean absolute difference of successive calls (of one round, where a round has several; what
        lies between rounds is not the artefact's doing).
    """
    visits = np.atleast_2d(np.asarray(milliseconds, np.float64))
    if visits.shape[1] == 1:
        visits = visits.reshape(1, -1)
    values = visits.ravel()
    steps = np.abs(np.diff(visits, axis=1))
    p50, p90, p95, p99 = np.percentile(values, [50, 90, 95, 99])
    figures = {
        "p50": p50,
        "p90": p90,
        "p95": p95,
        "p99": p99,
        "max": values.max(),
        "min": values.min(),
        "mean": values.mean(),
        "std": values.std(),
        "jitter": steps.mean() if steps.size else 0.0,
    }
    return {name: round(float(value), 3) for name, value in figures.items()}


def paired_ratio(
    contender: npt.ArrayLike, baseline: npt.ArrayLike, draws: int = 4000, seed: int = 0
) -> Ratio:
    """Contender over baseline, from samples taken in the same rounds.

    Each round gives one ratio of medians, so that a machine that slows down between rounds slows
    both sides; the rounds are resampled for the interval (percentile bootstrap of the median).
    Fewer than 6 rounds give the ratio alone.

    Args:
        contender: (rounds, calls) times.
        baseline: (rounds, calls) times of the same rounds; the numbers of calls may differ.
        draws: Bootstrap draws.
        seed: Of the draws.

    Raises:
        ValueError: The numbers of rounds differ, or there are fewer than two.
    """
    above = np.median(np.asarray(contender, np.float64), axis=1)  # (rounds,)
    below = np.median(np.asarray(baseline, np.float64), axis=1)
    if above.shape != below.shape or len(above) < 2:
        raise ValueError(f"{len(above)} and {len(below)} rounds cannot be paired")
    ratios = above / below
    if len(ratios) < LEAST_ROUNDS:
        return Ratio(float(np.median(ratios)), None, None)
    picks = np.random.default_rng(seed).integers(0, len(ratios), (draws, len(ratios)))
    low, high = np.percentile(np.median(ratios[picks], axis=1), [2.5, 97.5])
    return Ratio(float(np.median(ratios)), float(low), float(high))


def unsteadiness(series: Iterable[Iterable[npt.ArrayLike]]) -> float | None:
    """How far an ordinary turn lies above a quick one, over all that was timed together.

    What else runs on a machine, or on its host, makes some turns slower and hardly any quicker. No
    clock or counter has to be readable for it to show.

    Args:
        series: Of a process at a stage and batch each: the milliseconds of the calls of its turns.

    Returns:
        The median over all series of the median turn over the tenth percentile of turns: near 1
        where at least the quicker half of the turns took about the same time. None where no series
        has 6 turns.
    """
    shares = []
    for turns in series:
        medians = [np.median(calls) for calls in map(np.asarray, turns) if calls.size]
        if len(medians) >= LEAST_ROUNDS and (quick := np.percentile(medians, 10)) > 0:
            shares.append(np.median(medians) / quick)
    return float(np.median(shares)) if shares else None
