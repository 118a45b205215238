"""``edgepose doctor``: what this machine can do, what it lacks, and what to type about it."""

from __future__ import annotations

import json
import sys
from enum import Enum
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from edgepose.doctor import Finding, Purpose, Report

__all__ = ["doctor"]

_LACKING = 4
_STYLES = {"ok": "green", "note": "cyan", "warn": "yellow", "fail": "bold red"}


class _For(str, Enum):
    """Purposes, as the command line takes them."""

    cpu = "cpu"
    cuda = "cuda"
    tensorrt = "tensorrt"
    camera = "camera"
    export = "export"


def doctor(
    purpose: Annotated[
        _For,
        typer.Option(
            "--for",
            help="What it should be able to do: run on the CPU; on the GPU through onnxruntime "
            "(cuda); build and run TensorRT engines; read a camera of its own; export to ONNX.",
        ),
    ] = _For.cpu,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Look at this machine: what edgepose can do here, what is missing, what to type about it.

    Exit code 4 if it cannot do what --for names. Changes nothing and needs no rights.
    """
    from edgepose import doctor as doctors

    asked: Purpose = purpose.value
    report = doctors.examine(asked=asked)
    if as_json:
        sys.stdout.write(json.dumps(report.to_dict()) + "\n")
    else:
        _show(report)
    if not report:
        raise typer.Exit(_LACKING)


def _show(report: Report) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    for group, findings in groupby(report.findings, key=lambda finding: finding.group):
        console.print(f"\n{group}", style="bold", markup=False)
        _show_group(console, tuple(findings))
    console.print()
    console.print(report.verdict(), markup=False)


def _show_group(console: Console, findings: tuple[Finding, ...]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(width=4)
    table.add_column(width=15)
    table.add_column()
    for finding in findings:
        said = Text(finding.seen)
        if finding.means:
            said.append(f"\n{finding.means}", style="dim")
        if finding.do:
            said.append(f"\ndo: {finding.do}", style="italic")
        table.add_row(Text(finding.level, style=_STYLES[finding.level]), finding.check, said)
    console.print(table)
