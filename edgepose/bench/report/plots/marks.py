"""What several plots draw alike: labels at the ends of lines, and names above bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgepose.bench.report import words
from edgepose.bench.report.palette import MARKS
from edgepose.bench.report.plots.canvas import INK, MUTED, PAPER, colour
from edgepose.bench.report.plots.placing import spread
from edgepose.bench.report.study import Subject

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Transform

__all__ = [
    "beside",
    "end_labels",
    "mark",
    "name_rows",
    "names_beside",
    "plain_ticks",
    "row_tops",
    "wide_range",
]

_LINE = 14.0
_POINT = 72.0
# Lines that pass behind words would cross them out.
_OVER_LINES = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.0}
# So that all marks weigh alike.
_SIZES = {"^": 1.3, "v": 1.3, "D": 0.9, "*": 1.7, "P": 1.2, "X": 1.2}
# From one row of bars to the next, in units of a bar's height.
_ROW = 2.3


def mark(index: int, size: float = 7.0) -> dict[str, Any]:
    """How a point of an artefact is drawn."""
    shape = MARKS[index % len(MARKS)][0]
    return {
        "marker": shape,
        "markersize": size * _SIZES.get(shape, 1.0),
        "color": colour(index),
        "markeredgecolor": PAPER,
        "markeredgewidth": 0.8,
        "linestyle": "none",
    }


def end_labels(
    axes: Axes, subjects: Sequence[Subject], heights: Sequence[float], pixels: float
) -> None:
    """Names to the right of the axes, each as near as there is room to where its line ends.

    Args:
        axes: With their final limits and scale.
        subjects: Whose lines they are.
        heights: Where the lines end, in data units.
        pixels: Height of the axes, about.
    """
    if not subjects:
        return
    to_axes = axes.transScale + axes.transLimits
    wanted = [float(to_axes.transform((axes.get_xlim()[0], height))[1]) for height in heights]
    places = spread(wanted, _LINE / pixels, 0.0, 1.0)
    for subject, place in zip(subjects, places, strict=True):
        _named(axes, axes.transAxes, subject, 1.015, place, "center")


def _named(
    axes: Axes, transform: Transform, subject: Subject, x: float, y: float, align: str
) -> None:
    """An artefact's mark and name; the name in the colour of words, which is easier to read."""
    from matplotlib.transforms import ScaledTranslation

    inch = 1 / _POINT
    lift = 6.5 if align == "bottom" else 0.0
    shift = ScaledTranslation(5 * inch, lift * inch, axes.figure.dpi_scale_trans)
    axes.plot(x, y, **mark(subject.index, 7), transform=transform + shift, clip_on=False, zorder=6)
    axes.annotate(
        words.shortened(subject.name),
        (x, y),
        xycoords=transform,
        xytext=(13, 0),
        textcoords="offset points",
        va=align,
        color=INK,
        bbox=_OVER_LINES,
    )


def beside(axes: Axes, x: float, y: float, text: str, left: bool = False) -> None:
    """A figure beside a point, to its right or left."""
    axes.annotate(
        text,
        (x, y),
        xytext=(-7 if left else 7, 0),
        textcoords="offset points",
        ha="right" if left else "left",
        va="center",
        color=INK,
        fontsize=10,
        bbox=_OVER_LINES,
    )


def row_tops(count: int) -> list[float]:
    """Centres of so many rows of bars, the first on top."""
    return [(count - 1 - place) * _ROW for place in range(count)]


def name_rows(axes: Axes, subjects: Sequence[Subject], centres: Sequence[float]) -> None:
    """The name of each row above its bar, at the left edge, and no axis to the left."""
    for subject, centre in zip(subjects, centres, strict=True):
        _named(axes, axes.get_yaxis_transform(), subject, 0.0, centre + 0.62, "bottom")
    axes.set_yticks([])
    axes.set_ylim(min(centres) - 0.9, max(centres) + 1.75)


def names_beside(axes: Axes, subjects: Sequence[Subject], centres: Sequence[float]) -> None:
    """The name of each row to its left, at the height of its marks."""
    axes.set_yticks(centres, [words.shortened(subject.name) for subject in subjects])
    axes.tick_params(axis="y", colors=INK, labelsize=11)
    axes.set_ylim(min(centres) - 1.1, max(centres) + 1.1)


def wide_range(values: Sequence[float]) -> bool:
    """Whether a logarithmic axis serves better: the largest is more than eight times the least."""
    return min(values) > 0 and max(values) > 8 * min(values)


def plain_ticks(axes: Axes, which: str) -> None:
    """Figures without exponents; on a logarithmic axis 1, 2, 5, 10, ..."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    axis = axes.xaxis if which == "x" else axes.yaxis
    if axis.get_scale() == "log":
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: words.tick(value)))
    axes.tick_params(colors=MUTED, labelcolor=INK)
