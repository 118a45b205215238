"""All times, and what passes before the first pose."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgepose.bench.reading import calls, vague_tail
from edgepose.bench.report import words
from edgepose.bench.report.details.rows import ARTEFACT, named, sections
from edgepose.bench.report.study import Study
from edgepose.bench.report.table import Cell, Column, Row, Table
from edgepose.bench.statistics import LEAST_ROUNDS

__all__ = ["latency_table", "loading_table"]

_PERCENTILES = ("p50", "p90", "p95", "p99", "max")


def latency_table(study: Study) -> Table | None:
    """Every stage and batch size of every artefact."""
    rows: list[Row] = []
    for subject in study.subjects:
        latency = subject.section("latency") or {}
        cells = latency.get("cells", [])
        for cell in sorted(cells, key=lambda c: (study.stages().index(c["stage"]), c["batch"])):
            times = cell["milliseconds"]
            rows.append(
                (
                    named(subject),
                    Cell(cell["stage"]),
                    Cell(str(cell["batch"])),
                    *(Cell(_percentile(cell, key)) for key in _PERCENTILES),
                    Cell(words.digits(times["mean"])),
                    Cell(words.digits(times["jitter"])),
                    Cell(words.digits(cell["persons_per_second"])),
                    Cell(words.ratio(subject.ratio(cell["stage"], cell["batch"]), places=3)),
                    Cell(str(calls(cell)), note=_cut_short(latency, cell)),
                )
            )
    if not rows:
        return None
    columns = (
        ARTEFACT,
        Column("stage", numeric=False),
        Column("persons"),
        *(Column(key, "ms") for key in _PERCENTILES),
        Column("mean", "ms"),
        Column("jitter", "ms"),
        Column("persons", "a second"),
        Column("time ratio", "[95 %]"),
        Column("calls"),
    )
    return Table("All times", columns, tuple(rows), " ".join(_caption(study))).without_empty()


def _percentile(cell: dict[str, Any], key: str) -> str:
    mark = words.NEARLY if key == "p99" and vague_tail(cell) else ""
    return mark + words.digits(cell["milliseconds"][key])


def _cut_short(latency: dict[str, Any], cell: dict[str, Any]) -> str:
    """Whether it failed before the last round."""
    for lost in latency["protocol"].get("failed", ()):
        if (lost["stage"], lost["batch"]) == (cell["stage"], cell["batch"]):
            return "then it failed"
    return ""


def _caption(study: Study) -> Iterator[str]:
    cells = [cell for _, section in sections(study, "latency") for cell in section["cells"]]
    vague = [calls(cell) for cell in cells if vague_tail(cell)]
    if vague:
        few, many = min(vague), max(vague)
        count = str(few) if few == many else f"{few} to {many}"
        yield f"{words.NEARLY} The p99 of {count} calls is nearly the slowest of them."
    if any(len(cell["samples_ms"]) < LEAST_ROUNDS for cell in cells):
        yield f"Fewer than {LEAST_ROUNDS} rounds give no interval."


def loading_table(study: Study) -> Table | None:
    """What passes before the first pose."""
    rows = tuple(
        (
            named(subject),
            *(Cell(words.digits(section[key])) for key in ("import_ms", "load_ms", "first_ms")),
        )
        for subject, section in sections(study, "latency")
    )
    columns = (
        ARTEFACT,
        Column("imports", "ms"),
        Column("loading", "ms"),
        Column("first inference", "ms"),
    )
    return Table("Before the first pose", columns, rows) if rows else None
