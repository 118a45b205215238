"""How much of a frame is the network, and how much is cropping, decoding and the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgepose.bench.report import words
from edgepose.bench.report.plots.canvas import clean_axes, colour
from edgepose.bench.report.plots.marks import beside, name_rows, plain_ticks, row_tops
from edgepose.bench.report.study import Study, Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Part", "draw", "parts", "persons"]


class Part(NamedTuple):
    """Medians of an artefact, in milliseconds a person."""

    subject: Subject
    network: float
    rest: float


def persons(study: Study) -> int | None:
    """The largest batch that both the network and whole frames were timed with."""
    both = set(study.batches("frame")) & set(study.batches("network"))
    return max(both, default=None)


def parts(study: Study) -> list[Part]:
    """Network and the rest of each artefact that was timed with so many."""
    batch = persons(study)
    found = []
    for subject in study.subjects if batch else ():
        frame, network = (subject.times(stage, batch or 1) for stage in ("frame", "network"))
        if frame and network and batch:
            rest = max(0.0, frame["p50"] - network["p50"])
            found.append(Part(subject, network["p50"] / batch, rest / batch))
    return found


def draw(figure: Figure, study: Study, narrow: bool) -> None:
    """Draw it."""
    axes = figure.subplots()
    clean_axes(axes, "x")
    found = parts(study)
    centres = row_tops(len(found))
    for part, centre in zip(found, centres, strict=True):
        hue = colour(part.subject.index)
        axes.barh(centre, part.network, height=1, color=hue, linewidth=0)
        axes.barh(centre, part.rest, left=part.network, height=1, color=hue, alpha=0.4, linewidth=0)
        rest = f" + {words.digits(part.rest, 2)}" if part.rest else ""
        text = f"{words.digits(part.network)}{rest}"
        beside(axes, part.network + part.rest, centre, text)
    name_rows(axes, [part.subject for part in found], centres)
    axes.set_xlim(0, 1.22 * max(part.network + part.rest for part in found))
    plain_ticks(axes, "x")
    axes.set_xlabel("ms a person")
