"""Frame time against accuracy, and the artefacts that no other beats in both."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from edgepose.bench.report import words
from edgepose.bench.report.plots.canvas import GRID, INK, MUTED, clean_axes, colour
from edgepose.bench.report.plots.marks import mark, plain_ticks, wide_range
from edgepose.bench.report.plots.placing import Rectangle, place_beside
from edgepose.bench.report.study import Study, Subject

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Point", "draw", "front", "points"]

_RATES = (60, 30, 15, 10, 5)


class Point(NamedTuple):
    """An artefact in the plot."""

    subject: Subject
    p50: float
    p95: float
    ap: float
    low: float
    high: float


def points(study: Study) -> list[Point]:
    """Artefacts with a time and an accuracy that means something."""
    found = []
    for subject in study.subjects:
        times = subject.times("frame", study.persons)
        if times is None or subject.ap is None or subject.random:
            continue
        ap, change = subject.ap.ap, subject.ap_change
        low, high = (
            (ap, ap)
            if change is None
            else (
                ap + change.low - change.value,
                ap + change.high - change.value,
            )
        )
        found.append(Point(subject, times["p50"], times["p95"], ap, low, high))
    return found


def front(found: Sequence[Point]) -> list[Point]:
    """Those that no other is both faster and more accurate than, the fastest first."""
    best: list[Point] = []
    for point in sorted(found, key=lambda point: (point.p50, -point.ap)):
        if not best or point.ap > best[-1].ap:
            best.append(point)
    return best


def draw(figure: Figure, study: Study, narrow: bool) -> None:
    """Draw it."""
    axes = figure.subplots()
    clean_axes(axes)
    found = points(study)
    edge = front(found)
    times = [time for point in found for time in (point.p50, point.p95)]
    if wide_range(times):
        axes.set_xscale("log")
    axes.plot(
        [point.p50 for point in edge],
        [point.ap for point in edge],
        drawstyle="steps-post",
        color=MUTED,
        linewidth=1.2,
        linestyle=(0, (4, 3)),
        zorder=1,
    )
    for point in found:
        hue = colour(point.subject.index)
        axes.plot([point.p50, point.p95], [point.ap] * 2, color=hue, linewidth=1.4, zorder=2)
        axes.plot([point.p50] * 2, [point.low, point.high], color=hue, linewidth=1.4, zorder=2)
        axes.plot(point.p50, point.ap, **mark(point.subject.index, 10), zorder=3)
    axes.margins(x=0.12, y=0.16)
    plain_ticks(axes, "x")
    plain_ticks(axes, "y")
    axes.set_xlabel(f"frame time with {words.persons(study.persons)}, ms")
    axes.set_ylabel("AP, %")
    _rates(axes)
    if not narrow:
        _names(figure, axes, found)


def _rates(axes: Axes) -> None:
    """Where the usual frame rates end."""
    left, right = axes.get_xlim()
    for rate in _RATES:
        time = 1000 / rate
        if left < time < right:
            axes.axvline(time, color=GRID, linewidth=1.2, zorder=0)
            axes.text(
                time,
                1.0,
                f" {rate} fps",
                transform=axes.get_xaxis_transform(),
                va="top",
                ha="left",
                color=MUTED,
                fontsize=9.5,
            )


def _names(figure: Figure, axes: Axes, found: Sequence[Point]) -> None:
    texts = [
        axes.annotate(
            words.shortened(point.subject.name),
            (point.p50, point.ap),
            xytext=(0, 0),
            textcoords="offset points",
            color=INK,
            va="bottom",
        )
        for point in found
    ]
    for text in texts:
        text.set_in_layout(False)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in texts]
    spots = [tuple(axes.transData.transform((point.p50, point.ap))) for point in found]
    taken = [Rectangle(x - 7, y - 7, x + 7, y + 7) for x, y in spots]
    for point in found:
        (left, middle), (right, _) = axes.transData.transform(
            [(point.p50, point.ap), (point.p95, point.ap)]
        )
        taken.append(Rectangle(left, middle - 2, right, middle + 2))
        (x, bottom), (_, top) = axes.transData.transform(
            [(point.p50, point.low), (point.p50, point.high)]
        )
        taken.append(Rectangle(x - 2, bottom, x + 2, top))
    taken += _steps(axes, front(found))
    inside = axes.get_window_extent()
    placed = place_beside(
        spots,
        [(box.width + 4, box.height) for box in boxes],
        Rectangle(inside.x0, inside.y0, inside.x1, inside.y1),
        taken,
        12,
    )
    for point, text, (x, y), spot in zip(found, texts, spots, placed, strict=True):
        text.set_position((spot.left - x + 2, spot.bottom - y))
        near = (min(max(x, spot.left), spot.right), min(max(y, spot.bottom), spot.top))
        if abs(near[0] - x) + abs(near[1] - y) > 20:
            ends = axes.transData.inverted().transform([(x, y), near])
            axes.plot(
                ends[:, 0], ends[:, 1], color=colour(point.subject.index), linewidth=0.7, zorder=2
            )


def _steps(axes: Axes, edge: Sequence[Point]) -> list[Rectangle]:
    """The front as drawn: across to the next point's time, then up."""
    found = []
    for near, far in pairwise(edge):
        (x, y), (right, top) = axes.transData.transform([(near.p50, near.ap), (far.p50, far.ap)])
        found += [Rectangle(x, y - 1, right, y + 1), Rectangle(right - 1, y, right + 1, top)]
    return found
