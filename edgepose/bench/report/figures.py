"""The plots as files, for READMEs and slides."""

from __future__ import annotations

from collections.abc import Sequence

from edgepose.bench.record import ArtefactRecord
from edgepose.bench.report.plots import plots
from edgepose.bench.report.study import Study

__all__ = ["figures"]


def figures(records: Sequence[ArtefactRecord]) -> dict[str, str]:
    """``tradeoff``, ``percentiles``, ``throughput``, ... -> SVG text, light or dark by itself.

    Raises:
        InputError: There is no record.
        MissingDependency: matplotlib is not installed.
    """
    return {plot.name: plot.file() for plot in plots(Study.of(records))}
