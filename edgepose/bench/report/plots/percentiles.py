"""How long frames take at worst: times by percentile, the tail stretched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgepose.bench.reading import cell
from edgepose.bench.report import words
from edgepose.bench.report.plots.canvas import clean_axes, colour
from edgepose.bench.report.plots.marks import end_labels, plain_ticks, wide_range
from edgepose.bench.report.study import Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw", "last_percentile"]

_TICKS = (0.0, 50.0, 90.0, 95.0, 99.0, 99.9, 99.99)


def last_percentile(calls: int) -> float:
    """Where a curve of so many calls ends: one of them is slower, of which nothing is known."""
    return 100 * (1 - 1 / calls)


def draw(figure: Figure, study: Study, narrow: bool) -> None:
    """Draw it: the horizontal axis is -log10 of the share of frames that take longer."""
    axes = figure.subplots()
    clean_axes(axes)
    subjects, curves = [], []
    longest = 0.0
    for subject in study.subjects:
        found = cell(subject.record, "frame", study.persons)
        if found is None:
            continue
        times = np.concatenate([np.asarray(visit, np.float64) for visit in found["samples_ms"]])
        end = _place(last_percentile(len(times)))
        places = np.linspace(0, end, 80)
        curves.append((places, np.quantile(times, 1 - 10.0**-places)))
        subjects.append(subject)
        longest = max(longest, end)
    if wide_range([float(value) for _, values in curves for value in (values.min(), values.max())]):
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, 1.05 * max(float(values.max()) for _, values in curves))
    for subject, (places, values) in zip(subjects, curves, strict=True):
        axes.plot(places, values, color=colour(subject.index), linewidth=1.8)
    ticks = [tick for tick in _TICKS if _place(tick) <= longest + 1e-9]
    places_of_ticks, texts = [_place(tick) for tick in ticks], [_called(tick) for tick in ticks]
    # The end too, where its label has room beside the one before.
    if longest - places_of_ticks[-1] > longest / 8:
        places_of_ticks.append(longest)
        texts.append(f"p{100 * (1 - 10**-longest):.3g}")
    axes.set_xticks(places_of_ticks, texts)
    axes.set_xlim(0, longest)
    plain_ticks(axes, "y")
    axes.set_xlabel("percentile of frames")
    axes.set_ylabel(f"frame time with {words.persons(study.persons)}, ms")
    if not narrow:
        end_labels(axes, subjects, [float(values[-1]) for _, values in curves], 260)


def _place(percentile: float) -> float:
    return float(-np.log10(1 - percentile / 100))


def _called(percentile: float) -> str:
    return "fastest" if percentile == 0 else f"p{percentile:g}"
