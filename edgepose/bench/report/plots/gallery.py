"""Which plots a set of records gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from edgepose.bench.reading import calls, cell
from edgepose.bench.report import words
from edgepose.bench.report.details import shifts
from edgepose.bench.report.plots import (
    agreement,
    breakdown,
    memory,
    percentiles,
    roof,
    throughput,
    tradeoff,
)
from edgepose.bench.report.plots.canvas import render, standalone
from edgepose.bench.report.study import Study, Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Plot", "plots"]

_Draw = Callable[["Figure", Study, bool], None]
_FULL, _HALF, _PHONE = 1080, 530, 350


@dataclass(frozen=True)
class Plot:
    """A plot in two sizes.

    Attributes:
        name: Of one word.
        title: What it says, in a few words.
        caption: What was measured, and how to read it.
        alt: What it shows, for those who cannot see it.
        subjects: The artefacts in it.
        wide: The ``<svg>`` for desks.
        narrow: The ``<svg>`` for phones; names are in a key beside it.
        full: Whether it takes the whole width of the page.
        key: Where its names stand beside it: ``always``, ``narrow`` (only the wide form has them in
            it) or ``never``.
    """

    name: str
    title: str
    caption: str
    alt: str
    subjects: tuple[Subject, ...]
    wide: str
    narrow: str
    full: bool
    key: Literal["always", "narrow", "never"]

    def file(self) -> str:
        """The wide form as an SVG file of its own."""
        return standalone(self.wide, f"{self.title}. {self.alt}")


def plots(study: Study) -> list[Plot]:
    """All that the records have figures for.

    Raises:
        MissingDependency: matplotlib is not installed.
    """
    return [
        *_tradeoff(study),
        *_percentiles(study),
        *_breakdown(study),
        *_throughput(study),
        *_changes(study),
        *_joints(study),
        *_memory(study),
        *_roof(study),
    ]


def _tradeoff(study: Study) -> Iterator[Plot]:
    found = tradeoff.points(study)
    if len(found) < 2:
        return
    best = words.listed([point.subject.name for point in tradeoff.front(found)])
    yield _plot(
        "tradeoff",
        "Frame time against accuracy",
        f"Up and to the left is better. Marks: median frame time with "
        f"{words.persons(study.persons)} and AP; to the right of a mark, up to the 95th percentile "
        "of time; upright, the 95 % interval of the AP difference to the reference. On the dashed "
        f"line lies what nothing else beats in both: {best}. {study.ap_label}.",
        "; ".join(
            f"{p.subject.name}: {words.digits(p.p50)} ms, AP {words.points(p.ap)}" for p in found
        ),
        [point.subject for point in found],
        tradeoff.draw,
        study,
        heights=(430, 300),
        full=True,
        key="narrow",
    )


def _percentiles(study: Study) -> Iterator[Plot]:
    found = [s for s in study.subjects if s.times("frame", study.persons)]
    if not found:
        return
    texts = []
    for subject in found:
        times = subject.times("frame", study.persons) or {}
        texts.append(
            f"{subject.name}: p50 {words.digits(times['p50'])}, p95 {words.digits(times['p95'])} ms"
        )
    yield _plot(
        "percentiles",
        "How long frames take at worst",
        f"Frame time with {words.persons(study.persons)} by percentile; the axis gives each ten "
        f"times rarer frame the same room. A flat line is a steady artefact. "
        + _curves_end(found, study),
        "; ".join(texts),
        found,
        percentiles.draw,
        study,
        heights=(340, 290),
        key="narrow",
    )


def _curves_end(subjects: list[Subject], study: Study) -> str:
    """How far the samples tell."""
    cells = [cell(subject.record, "frame", study.persons) for subject in subjects]
    counts = sorted({calls(found) for found in cells if found is not None})
    ends = [f"p{percentiles.last_percentile(count):.3g}" for count in (counts[0], counts[-1])]
    if len(counts) == 1:
        return f"Of {counts[0]} calls the curves end at {ends[0]}: the slowest call lies beyond."
    return (
        f"Of {counts[0]} to {counts[-1]} calls the curves end at {ends[0]} to {ends[1]}: the "
        "slowest call lies beyond."
    )


def _breakdown(study: Study) -> Iterator[Plot]:
    found = breakdown.parts(study)
    batch = breakdown.persons(study)
    if not found or batch is None:
        return
    yield _plot(
        "breakdown",
        "What of a frame is the network",
        f"Medians with {words.persons(batch)}, divided by them. Full colour: the network; pale: "
        "cropping, normalising, decoding and mapping back, as the difference of the two medians. "
        "Where there is no second figure, that difference is lost in the noise.",
        "; ".join(
            f"{p.subject.name}: network {words.digits(p.network)}, the rest "
            f"{words.digits(p.rest)} ms a person"
            for p in found
        ),
        [part.subject for part in found],
        breakdown.draw,
        study,
        heights=_rows(len(found)),
    )


def _throughput(study: Study) -> Iterator[Plot]:
    stages = [stage for stage in ("network", "device", "frame") if len(study.batches(stage)) > 1]
    if not stages:
        return
    found = [s for s in study.subjects if any(s.throughput(stage) for stage in stages)]
    yield _plot(
        "throughput",
        "Throughput by batch",
        "People a second, from the median of each batch size. A line that has stopped rising "
        "says which batch is worth waiting for.",
        "; ".join(
            f"{s.name}, {stage}: "
            + ", ".join(f"{words.digits(rate)} with {n}" for n, rate in s.throughput(stage))
            for s in found
            for stage in stages
        ),
        found,
        throughput.draw,
        study,
        heights=(330, 270 * len(stages)),
        full=True,
        key="narrow",
    )


def _changes(study: Study) -> Iterator[Plot]:
    found = agreement.changes(study)
    if not found:
        return
    yield _plot(
        "changes",
        "Accuracy lost or won",
        f"AP less that of {study.reference_name}, with its paired 95 % interval (photos "
        f"resampled). An interval across zero: the two cannot be told apart. {study.ap_label}.",
        "; ".join(f"{subject.name}: {words.change(change)} points" for subject, change in found),
        [subject for subject, _ in found],
        agreement.draw_changes,
        study,
        heights=_rows(len(found)),
        full=True,
    )


def _joints(study: Study) -> Iterator[Plot]:
    found = agreement.moved(study)
    if not found:
        return
    joints = max(len(part["shift_px"]["per_joint"]) for _, part in found)
    still = [s.name for s, _ in shifts(study) if s not in [subject for subject, _ in found]]
    tall = 60 + joints * max(20, 8 * len(found))
    yield _plot(
        "joints",
        "How far each joint moves",
        f"Distance in pixels of the photo between a joint of an artefact and the same joint of "
        f"{study.reference_name}. Marks: median; lines: to the 95th percentile. Less than "
        "0.01 px is drawn at the edge"
        + (f"; nothing at all moves by as much in {words.listed(still)}." if still else "."),
        "; ".join(
            f"{subject.name}: median of all joints {words.digits(part['shift_px']['median'])} px"
            for subject, part in found
        ),
        [subject for subject, _ in found],
        agreement.draw_joints,
        study,
        heights=(340, tall),
        full=True,
        key="always",
    )


def _memory(study: Study) -> Iterator[Plot]:
    found = study.measured("memory")
    if not found:
        return
    yield _plot(
        "memory",
        "Peak memory of each artefact's own process",
        "Pale: interpreter and libraries; darker: with the artefact loaded; full colour: up to the "
        "peak, that of loading and of every batch size included.",
        "; ".join(
            f"{s.name}: {words.mebibytes((s.section('memory') or {})['peak_bytes'])} MiB"
            for s in found
        ),
        found,
        memory.draw,
        study,
        heights=_rows(len(found)),
    )


def _roof(study: Study) -> Iterator[Plot]:
    found = roof.reached(study)
    if not found:
        return
    roofs = [(subject.section("cost") or {})["roof"] for subject, _ in found]
    peaks = dict.fromkeys(f"{words.digits(one['gflops'])} GFLOP/s" for one in roofs)
    hows = dict.fromkeys(words.sentence(one["how"]) for one in roofs)
    yield _plot(
        "roof",
        "How near to the machine's peak",
        "Twice the multiply-adds of the network over its time, as a share of "
        f"{words.listed(list(peaks))}. Figures at the marks: persons in a call. {' '.join(hows)}",
        "; ".join(
            f"{subject.name}: "
            + ", ".join(f"{words.percent(row['share'])} with {row['batch']}" for row in rows)
            for subject, rows in found
        ),
        [subject for subject, _ in found],
        roof.draw,
        study,
        heights=_rows(len(found)),
    )


def _rows(count: int) -> tuple[int, int]:
    """Heights for so many rows of bars."""
    return 62 + 46 * count, 62 + 46 * count


def _plot(
    name: str,
    title: str,
    caption: str,
    alt: str,
    subjects: list[Subject],
    draw: _Draw,
    study: Study,
    *,
    heights: tuple[int, int],
    full: bool = False,
    key: Literal["always", "narrow", "never"] = "never",
) -> Plot:
    width = _FULL if full else _HALF
    return Plot(
        name=name,
        title=title,
        caption=caption,
        alt=alt,
        subjects=tuple(subjects),
        wide=render(partial(_drawn, draw, study, False), width, heights[0], f"{name}-w"),
        narrow=render(partial(_drawn, draw, study, True), _PHONE, heights[1], f"{name}-n"),
        full=full,
        key=key,
    )


def _drawn(draw: _Draw, study: Study, narrow: bool, figure: Figure) -> None:
    draw(figure, study, narrow)
