"""The plots of a report, each with its caption and its words for those who cannot see it."""

from edgepose.bench.report.plots.gallery import Plot, plots

__all__ = ["Plot", "plots"]
