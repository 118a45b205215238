"""What people read: the plan, and what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from benchmarks.gpu.plan import Step

__all__ = ["plan_table", "rows_table", "verdict"]

_FAILED, _REFUTED = 1, 3
_WORDS = 160


def plan_table(plan: Sequence[Step], minutes: float) -> Table:
    """Steps with their guesses, and where the first run will end by them."""
    table = Table("step", "about s", "in all min", title="plan", title_justify="left")
    total, cut = 0.0, False
    for step in plan:
        total += step.guess
        if total > 60 * minutes and not cut:
            table.add_section()
            cut = True
        table.add_row(step.key, f"{step.guess:.0f}", f"{total / 60:.1f}")
    return table


def rows_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """What came of each step."""
    table = Table("step", "status", "verdict", "s", "in words")
    for row in rows:
        table.add_row(
            row["step"],
            row["status"],
            {True: "passed", False: "NOT passed", None: ""}[row["passed"]],
            f"{row['seconds']:.0f}" if "seconds" in row else "",
            _gist(row),
        )
    return table


def verdict(rows: Sequence[Mapping[str, Any]]) -> tuple[int, str]:
    """Exit code and a sentence: a verdict that is no, then a failure, then what is left."""
    counts = Counter(row["status"] for row in rows)
    refuted = [row["step"] for row in rows if row["passed"] is False]
    told = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    sentence = f"{len(rows)} steps: {told}"
    if counts["unfinished"]:
        sentence += "; for the rest, run the same command again"
    if refuted:
        return _REFUTED, f"{sentence}; NOT passed: {', '.join(refuted)}"
    failed = [row["step"] for row in rows if row["status"] == "failed"]
    if failed:
        return _FAILED, f"{sentence}; failed: {', '.join(failed)}"
    return 0, sentence


def _gist(row: Mapping[str, Any]) -> str:
    """The figures worth a line, else the words."""
    found = row.get("found") or {}
    if row["status"] == "done" and "layer_shares" in found:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in found["layer_shares"].items())
        return f"layers: {shares or 'the inspector does not say'}; {len(row['log'])} warnings"
    if row["status"] == "done" and "verdicts" in found:
        worst = max((v["parity"] for v in found["verdicts"]), key=lambda p: p["p99_px"] or 0)
        return f"worst p99 {_figure(worst['p99_px'])} px, least OKS {_figure(worst['oks_min'])}"
    if row["status"] == "done" and "figures" in found and row["step"].startswith("latency/"):
        return _fastest(found["figures"])
    if row["status"] == "done" and "figures" in found:
        return ", ".join(f"AP {f['metrics']['ap']} (drop {f['drop']})" for f in found["figures"])
    text = " ".join(row["words"].split())
    return text if len(text) <= _WORDS else f"{text[: _WORDS - 3]}..."


def _fastest(figures: Sequence[Mapping[str, Any]]) -> str:
    batches = sorted({figure["batch"] for figure in figures})
    parts = []
    for batch in batches:
        there = [f for f in figures if f["batch"] == batch and "host_to_host_ms" in f]
        if there:
            best = min(there, key=lambda f: float(f["host_to_host_ms"]["p50"]))
            parts.append(f"x{batch}: {best['contender']} {best['host_to_host_ms']['p50']} ms")
    return "; ".join(parts)


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:.3g}"
