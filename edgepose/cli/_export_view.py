"""What the export verb prints: figures as data on stdout, steps and words as talk on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from edgepose.engine import ProvenEngine
    from edgepose.export import ExportResult
    from edgepose.export.precision.convert import Converted
    from edgepose.export.precision.sensitivity import Sensitivity
    from edgepose.parity import Parity

__all__ = ["Talk", "show_engine", "show_parity", "show_result", "talk", "write_json"]


class Talk:
    """Steps on stderr, one line each; the one at work turns a wheel where stderr is a terminal."""

    def __init__(self, line: Callable[[str], None], wheel: Callable[[str], None]) -> None:
        self._line = line
        self._wheel = wheel

    def step(self, text: str) -> None:
        """Begin a step."""
        self._line(text)
        self._wheel(text)

    def build(self, phase: str, done: int, of: int) -> None:
        """Where the builder of an engine is: its phases come and go by the dozen."""
        self._wheel(f"{phase} {done}/{of}" if of else phase)


@contextmanager
def talk() -> Iterator[Talk]:
    """Talk for as long as the block runs."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    with console.status("starting") as status:
        yield Talk(lambda text: console.print(text, markup=False, soft_wrap=True), status.update)


def write_json(data: object) -> None:
    """One line of JSON on stdout."""
    sys.stdout.write(json.dumps(data) + "\n")


def show_parity(parity: Parity, title: str = "Parity with PyTorch") -> None:
    """The comparison as a table."""
    _print(_table(parity, title))


def _print(table: Table) -> None:
    from rich.console import Console

    Console().print(table)


def show_result(result: ExportResult, title: str) -> None:
    """An ONNX artefact: the comparison, what was kept in more digits, and where it lies."""
    show_parity(result.parity, title)
    converted = result.conversion
    if converted is not None:
        if converted.sensitivity is not None:
            _print(_costs(converted.sensitivity))
        sys.stderr.write(_kept(converted) + "\n")
        if result.speed is not None:
            sys.stderr.write(_worth(result.speed) + "\n")
    if result.divergence is not None:
        sys.stderr.write(f"{result.divergence}\n")
    sys.stderr.write(
        f"wrote {result.path} ({result.size_bytes / 2**20:.1f} MiB, {result.nodes} nodes, operator "
        f"set {result.opset}) in {result.seconds:.0f} s\n"
    )
    if not result.spec.provenance.trained_on:
        sys.stderr.write("these weights carry no word of what they were trained on\n")


def show_engine(engine: ProvenEngine) -> None:
    """An engine: the comparison if there was one, what the build took, and where it lies."""
    if engine.parity is not None:
        show_parity(engine.parity, f"Parity of the engine with {engine.sidecar.onnx}")
    for note in engine.notes:
        sys.stderr.write(f"note: {note}\n")
    sidecar = engine.sidecar
    sys.stderr.write(
        f"wrote {engine.path} ({sidecar.engine_bytes / 2**20:.1f} MiB, {sidecar.precision}, "
        f"{sidecar.product} {sidecar.version}) and its sidecar in {engine.seconds:.0f} s\n"
    )


def _kept(converted: Converted) -> str:
    """How many nodes stay in more digits, by reason."""
    counts: dict[str, int] = {}
    for kept in converted.kept:
        counts[kept.why] = counts.get(kept.why, 0) + 1
    if not counts:
        return f"every node is {converted.precision}"
    reasons = sorted(counts.items(), key=lambda item: -item[1])
    return "kept in more digits: " + "; ".join(f"{count} ({why})" for why, count in reasons)


def _costs(sensitivity: Sensitivity) -> Table:
    """What each block costs in INT8, the worst first, then all together and what was left out."""
    from rich.table import Table

    table = Table(
        title="What each block costs when it alone is INT8",
        caption=f"ranges from {sensitivity.calibrating} people, measured on "
        f"{sensitivity.measuring} others",
    )
    table.add_column("block", overflow="fold")
    for column in ("operations", "OKS with FP32", "AP lost"):
        table.add_column(column, justify="right")
    rows = [(row.block, str(len(row.nodes)), row.cost) for row in sensitivity.rows]
    rows.append(("all", str(sum(len(row.nodes) for row in sensitivity.rows)), sensitivity.whole))
    if len(sensitivity.steps) > 1:
        last = sensitivity.steps[-1]
        rows.append((f"all but {', '.join(last.excluded)}", "", last.cost))
    for block, nodes, cost in rows:
        lost = "" if cost.ap_drop is None else f"{cost.ap_drop:.2f}"
        table.add_row(block, nodes, f"{cost.oks:.4f}", lost)
    return table


def _worth(speed: dict[str, Any]) -> str:
    """Whether it was worth it, plainly."""
    figure = (
        f"{speed['ratio']:.2f} [{speed['low']:.2f}, {speed['high']:.2f}] of FP32's time on this "
        f"CPU ({speed['runtime']}, batch {speed['batch']})"
    )
    if speed["pays"]:
        return f"INT8 takes {figure}"
    return f"INT8 is not worth it here: it takes {figure}. Elsewhere it may be: measure there"


def _table(parity: Parity, title: str) -> Table:
    from rich.table import Table

    limits = parity.limits
    table = Table(
        title=f"{title}: {parity.verdict}",
        caption=f"{parity.persons} people, {parity.keypoints} keypoints"
        + (f"; {parity.undecided} more hang on rounding" if parity.undecided else ""),
    )
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("limit", justify="right")
    poses = (
        ("keypoint error, median", f"{parity.median_px:.5f} px", f"{limits.median_px:g} px"),
        ("keypoint error, 99 %", f"{parity.p99_px:.5f} px", f"{limits.p99_px:g} px"),
        ("keypoint error, largest", f"{parity.max_px:.5f} px", ""),
        (
            f"moved by more than {limits.moved_px:g} px",
            f"{parity.moved_share:.2%}",
            f"{limits.moved_share:.2%}",
        ),
        ("OKS, mean", f"{parity.oks_mean:.6f}", f"{limits.oks_mean:g}"),
        ("OKS, smallest", f"{parity.oks_min:.6f}", f"{limits.oks_min:g}"),
    )
    for row in poses if limits.poses else ():
        table.add_row(*row)
    for tensor in parity.tensors:
        sizes = f"{tensor.p50:.1e} / {tensor.p999:.1e} / {tensor.max:.1e}"
        table.add_row(f"{tensor.name}, error 50 / 99.9 / 100 %", sizes, "")
        table.add_row(f"{tensor.name}, error 99 %", f"{tensor.p99:.1e}", f"{limits.tensor_p99:g}")
        if tensor.correlation is not None and limits.correlation > -1:
            table.add_row(
                f"{tensor.name}, correlation",
                f"{tensor.correlation:.6f}",
                f"{limits.correlation:g}",
            )
    return table
