"""Promises of the form "at most x times as long as that", as a table."""

from __future__ import annotations

from rich.table import Table as RichTable

from edgepose.bench.records import BenchRecord
from edgepose.bench.report.table import Cell, Column, Table
from edgepose.bench.report.terminal import rich_table
from edgepose.bench.report.words import NONE

__all__ = ["pairs_table"]


def pairs_table(record: BenchRecord) -> RichTable:
    """One row a pair: both medians, their ratio with its interval, and the verdict."""
    columns = (
        Column("above / below", numeric=False),
        Column("above", "ms"),
        Column("below", "ms"),
        Column("ratio"),
        Column("interval"),
        Column("limit"),
    )
    rows = []
    for row in record.results:
        verdict = "-"
        if row["limit"] is not None:
            verdict = f"{row['limit']:.2f} {'met' if row['met'] else 'MISSED'}"
        texts = (
            row["pair"],
            f"{row['contender_ms']['p50']:.2f}",
            f"{row['baseline_ms']['p50']:.2f}",
            f"{row['ratio']:.3f}",
            "-".join(f"{end:.3f}" for end in row["interval_95"] or ()) or NONE,
            verdict,
        )
        rows.append(tuple(Cell(text) for text in texts))
    title = "Paired times: medians, their ratio, its 95 % interval"
    made = rich_table(Table(title, columns, tuple(rows)))
    made.title, made.title_justify = title, "left"
    return made
