"""People a second by how many share a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgepose.bench.report.plots.canvas import INK, clean_axes, colour
from edgepose.bench.report.plots.marks import end_labels, mark, plain_ticks
from edgepose.bench.report.study import Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw"]

_TITLES = {
    "network": "The network alone",
    "device": "The network on the device's clock",
    "frame": "Whole frames",
}


def draw(figure: Figure, study: Study, narrow: bool) -> None:
    """Draw it: a panel a stage, all with the same axes."""
    stages = [stage for stage in ("network", "device", "frame") if study.batches(stage)]
    shape = (len(stages), 1) if narrow else (1, len(stages))
    panels = figure.subplots(*shape, sharex=True, sharey=True, squeeze=False).ravel()
    batches = sorted({batch for stage in stages for batch in study.batches(stage)})
    for axes, stage in zip(panels, stages, strict=True):
        clean_axes(axes)
        axes.set_title(_TITLES[stage], loc="left", fontsize=11, color=INK)
        axes.set_xscale("log", base=2)
        for subject in study.subjects:
            line = subject.throughput(stage)
            if line:
                places, rates = zip(*line, strict=True)
                axes.plot(places, rates, color=colour(subject.index), linewidth=1.8)
                axes.plot(places, rates, **mark(subject.index, 8))
        axes.set_xlabel("persons in a call")
    panels[0].set_ylim(bottom=0)
    panels[0].set_xticks(batches, [str(batch) for batch in batches])
    panels[0].minorticks_off()
    panels[0].set_ylabel("persons a second")
    for axes in panels:
        plain_ticks(axes, "y")
    if not narrow:
        last = [s for s in study.subjects if s.throughput(stages[-1])]
        end_labels(panels[-1], last, [s.throughput(stages[-1])[-1][1] for s in last], 250)
