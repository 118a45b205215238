"""Records as tables on the terminal. Reads records only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table

from edgepose.bench.records import BenchRecord

__all__ = ["accuracy_table", "latency_table", "pairs_table"]

_FIGURES = (
    ("AP", "ap"),
    ("AP50", "ap50"),
    ("AP75", "ap75"),
    ("AP M", "ap_medium"),
    ("AP L", "ap_large"),
    ("AR", "ar"),
)


def accuracy_table(records: Sequence[BenchRecord]) -> Table:
    """One row a protocol; what the AP is of stands in the row, since it may differ."""
    table = _table("Accuracy, percent (official OKS metrics, GT boxes)")
    table.add_column("artefact", overflow="fold")
    table.add_column("measured on", overflow="fold")
    table.add_column("flip")
    table.add_column("persons", justify="right")
    for title, _ in _FIGURES:
        table.add_column(title, justify="right", style="bold" if title == "AP" else "")
    for record in records:
        for result in record.results:
            protocol = result["protocol"]
            table.add_row(
                _name(record),
                protocol["set"],
                "on" if protocol["flip"] else "off",
                str(protocol["persons"]),
                *(_figure(result["metrics"][key]) for _, key in _FIGURES),
            )
    return table


def latency_table(records: Sequence[BenchRecord]) -> Table:
    """One row a stage and batch size."""
    table = _table("Latency, milliseconds a call")
    table.add_column("artefact", overflow="fold")
    table.add_column("stage")
    for title in ("batch", "p50", "p90", "p99", "persons/s", "n"):
        table.add_column(title, justify="right", style="bold" if title == "p50" else "")
    for record in records:
        for result in record.results:
            times = result["milliseconds"]
            table.add_row(
                _name(record),
                result["stage"],
                str(result["batch"]),
                *(f"{times[key]:.2f}" for key in ("p50", "p90", "p99")),
                f"{result['persons_per_second']:.1f}",
                str(sum(len(visit) for visit in result["samples_ms"])),
            )
    return table


def pairs_table(record: BenchRecord) -> Table:
    """One row a pair: both medians, their ratio with its interval, and the verdict."""
    table = _table("Paired times: medians, their ratio, its 95 % interval")
    table.add_column("above / below", overflow="fold")
    for title in ("above ms", "below ms", "ratio", "interval", "limit"):
        table.add_column(title, justify="right", style="bold" if title == "ratio" else "")
    for row in record.results:
        low, high = row["interval_95"]
        verdict = "-"
        if row["limit"] is not None:
            verdict = f"{row['limit']:.2f} {'met' if row['met'] else 'MISSED'}"
        table.add_row(
            row["pair"],
            f"{row['contender_ms']['p50']:.2f}",
            f"{row['baseline_ms']['p50']:.2f}",
            f"{row['ratio']:.3f}",
            f"{low:.3f}-{high:.3f}",
            verdict,
        )
    return table


def _table(title: str) -> Table:
    return Table(title=title, box=box.SIMPLE_HEAD, expand=True, title_justify="left")


def _name(record: BenchRecord) -> str:
    return str((record.artefact or {}).get("name", "-"))


def _figure(value: Any) -> str:
    return "-" if value is None else f"{value:.1f}"
