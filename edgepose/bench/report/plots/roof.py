"""How near each artefact comes to what the machine can do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgepose.bench.report.plots.canvas import GRID, INK, clean_axes, colour
from edgepose.bench.report.plots.marks import beside, mark, name_rows, plain_ticks, row_tops
from edgepose.bench.report.study import Study, Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw", "reached"]


def reached(study: Study) -> list[tuple[Subject, list[dict[str, Any]]]]:
    """Artefacts with the share of the roof that they reach, by batch size."""
    found = []
    for subject in study.measured("cost"):
        rows = [
            row for row in (subject.section("cost") or {})["achieved"] if row["share"] is not None
        ]
        if rows:
            found.append((subject, rows))
    return found


def draw(figure: Figure, study: Study, narrow: bool) -> None:
    """One line an artefact with a mark for each batch size, which stands beside it."""
    axes = figure.subplots()
    clean_axes(axes, "x")
    found = reached(study)
    centres = row_tops(len(found))
    longest = max(100 * row["share"] for _, rows in found for row in rows)
    for (subject, rows), centre in zip(found, centres, strict=True):
        shares = [100 * row["share"] for row in rows]
        axes.plot([0, max(shares)], [centre] * 2, color=GRID, linewidth=1.2, zorder=1)
        axes.plot(
            [min(shares), max(shares)], [centre] * 2, color=colour(subject.index), linewidth=2
        )
        axes.plot(shares, [centre] * len(shares), **mark(subject.index, 9))
        for share, row in (
            (min(shares), rows[shares.index(min(shares))]),
            (max(shares), rows[shares.index(max(shares))]),
        ):
            beside(axes, share, centre, str(row["batch"]), left=share == min(shares))
    name_rows(axes, [subject for subject, _ in found], centres)
    axes.axvline(100, color=INK, linewidth=1, zorder=1)
    axes.set_xlim(0, max(1.12 * longest, 106))
    plain_ticks(axes, "x")
    axes.set_xlabel("% of the machine's measured peak")
