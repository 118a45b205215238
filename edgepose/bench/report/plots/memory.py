"""Peak memory of each artefact's own process, by what it is for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgepose.bench.report import words
from edgepose.bench.report.plots.canvas import clean_axes, colour
from edgepose.bench.report.plots.marks import beside, name_rows, plain_ticks, row_tops
from edgepose.bench.report.study import Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw"]

_MEBI = 2**20


def draw(figure: Figure, study: Study, narrow: bool) -> None:
    """Draw it: libraries pale, the loaded artefact darker, what work adds in full colour."""
    axes = figure.subplots()
    clean_axes(axes, "x")
    subjects = study.measured("memory")
    centres = row_tops(len(subjects))
    longest = 0.0
    for subject, centre in zip(subjects, centres, strict=True):
        section = subject.section("memory") or {}
        peak = section["peak_bytes"] / _MEBI
        baseline = (section["baseline_bytes"] or 0) / _MEBI
        loaded = max(baseline, (section["loaded_bytes"] or 0) / _MEBI)
        start = 0.0
        for end, alpha in ((baseline, 0.22), (loaded, 0.55), (peak, 1.0)):
            axes.barh(
                centre,
                max(0.0, end - start),
                left=start,
                height=1,
                color=colour(subject.index),
                alpha=alpha,
                linewidth=0,
            )
            start = max(start, end)
        beside(axes, peak, centre, words.digits(peak))
        longest = max(longest, peak)
    name_rows(axes, subjects, centres)
    axes.set_xlim(0, 1.12 * longest)
    plain_ticks(axes, "x")
    axes.set_xlabel("MiB")
