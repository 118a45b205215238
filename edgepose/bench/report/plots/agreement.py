"""What is lost against the reference: AP with its interval, and how far each joint moves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgepose.bench.reading import Difference
from edgepose.bench.report import words
from edgepose.bench.report.details import shifts
from edgepose.bench.report.plots.canvas import GRID, INK, clean_axes, colour
from edgepose.bench.report.plots.marks import (
    beside,
    mark,
    name_rows,
    names_beside,
    plain_ticks,
    row_tops,
)
from edgepose.bench.report.study import Study, Subject

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["changes", "draw_changes", "draw_joints", "moved"]

# Smaller shifts are no shifts; they are drawn at this edge.
_LEAST_PX = 0.01
# Letters of a name that leave a phone enough room for the plot.
_LONGEST_BESIDE = 14


def changes(study: Study) -> list[tuple[Subject, Difference]]:
    """AP less the reference's, of each artefact that has it."""
    return [(s, s.ap_change) for s in study.subjects if s.ap_change is not None and not s.random]


def moved(study: Study) -> list[tuple[Subject, dict[str, Any]]]:
    """Artefacts of which some joint's 95th percentile can be drawn."""
    return [
        (subject, part)
        for subject, part in shifts(study)
        if any((row["p95"] or 0) > _LEAST_PX for row in part["shift_px"]["per_joint"])
    ]


def draw_changes(figure: Figure, study: Study, narrow: bool) -> None:
    """The difference as a mark, its 95 % interval as a line; zero is the reference."""
    axes = figure.subplots()
    clean_axes(axes, "x")
    axes.spines["left"].set_visible(False)
    found = changes(study)
    centres = row_tops(len(found))
    axes.axvline(0, color=INK, linewidth=1)
    for (subject, change), centre in zip(found, centres, strict=True):
        hue = colour(subject.index)
        axes.plot([change.low, change.high], [centre] * 2, color=hue, linewidth=2.2)
        axes.plot(change.value, centre, **mark(subject.index, 9))
        if not narrow:
            beside(axes, change.high, centre, words.change(change))
    subjects = [subject for subject, _ in found]
    # On phones long names have no room but above.
    above = narrow and max(len(subject.name) for subject in subjects) > _LONGEST_BESIDE
    (name_rows if above else names_beside)(axes, subjects, centres)
    ends = [end for _, change in found for end in (change.low, change.high, 0.0)]
    room = max(0.08 * (max(ends) - min(ends)), 0.25)
    axes.set_xlim(min(ends) - room, max(ends) + room * (1 if narrow else 2.6))
    plain_ticks(axes, "x")
    axes.set_xlabel("AP less that of the reference, points")


def draw_joints(figure: Figure, study: Study, narrow: bool) -> None:
    """The median of each joint as a mark, a line to the 95th percentile.

    Joints stand side by side, on phones one below the other.
    """
    axes = figure.subplots()
    clean_axes(axes, "x" if narrow else "y")
    found = moved(study)
    joints = list(
        dict.fromkeys(row["joint"] for _, part in found for row in part["shift_px"]["per_joint"])
    )
    step = 0.72 / max(1, len(found))
    for order, (subject, part) in enumerate(found):
        for row in part["shift_px"]["per_joint"]:
            if row["median"] is None:
                continue
            place = joints.index(row["joint"]) - 0.36 + (order + 0.5) * step
            ends = [max(_LEAST_PX, row[key] or 0) for key in ("median", "p95")]
            line = (ends, [place] * 2) if narrow else ([place] * 2, ends)
            point = (ends[0], place) if narrow else (place, ends[0])
            axes.plot(*line, color=colour(subject.index), linewidth=1.4, alpha=0.75)
            axes.plot(*point, **mark(subject.index, 5.5))
    _joint_axes(axes, joints, narrow)
    label = f"shift against {words.shortened(study.reference_name)}, image px"
    if narrow:
        axes.set_xlabel(label)
    else:
        axes.set_ylabel(label)


def _joint_axes(axes: Axes, joints: Sequence[str], narrow: bool) -> None:
    """A logarithmic axis of pixels, and one of joints with a line between each two."""
    words_apart = " " if narrow else "\n"
    called = [joint.replace("_", words_apart) for joint in joints]
    limits = (-0.5, len(joints) - 0.5)
    if narrow:
        axes.set_xscale("log")
        axes.set_xlim(left=_LEAST_PX * 0.8)
        axes.set_yticks(range(len(joints)), called)
        axes.set_ylim(*reversed(limits))
    else:
        axes.set_yscale("log")
        axes.set_ylim(bottom=_LEAST_PX * 0.8)
        axes.set_xticks(range(len(joints)), called)
        axes.set_xlim(*limits)
    for place in range(1, len(joints)):
        draw = axes.axhline if narrow else axes.axvline
        draw(place - 0.5, color=GRID, linewidth=0.8, zorder=0)
    plain_ticks(axes, "x" if narrow else "y")
    axes.tick_params(labelcolor=INK, labelsize=9)
