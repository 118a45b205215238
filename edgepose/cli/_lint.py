"""Showing what a runtime does not read of a graph."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edgepose.errors import require

if TYPE_CHECKING:
    from edgepose.export import Lint

__all__ = ["lint_only", "show_lint"]


def lint_only(file: Path, target: str, as_json: bool) -> None:
    """Look at an ONNX file, and change nothing.

    Raises:
        InputError: No such target.
        GraphError: The file is missing or no ONNX; a LintError if the target does not read it.
    """
    for module in ("onnx", "torch"):
        require(module, "export")
    from edgepose.export.lint import ask, find_target, lint, load, refusal

    runtime = find_target(target)
    model = load(file)
    found = lint(model, runtime).with_verdict(ask(runtime, file))
    show_lint(found, file, as_json)
    if not found:
        raise refusal(model, found)


def show_lint(found: Lint, file: Path | None, as_json: bool) -> None:
    """The findings as data, the verdict as talk.

    Args:
        found: The lint.
        file: What was looked at; None where an export was and nothing is left of it.
        as_json: As JSON, not as a table.
    """
    if as_json:
        artefact = None if file is None else str(file)
        sys.stdout.write(json.dumps({"artefact": artefact, "lint": found.to_dict()}) + "\n")
    elif found.findings:
        _print_table(found)
    if found:
        sys.stderr.write(found.summary() + "\n")


def _print_table(found: Lint) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"What {found.target.title} does not read")
    for column in ("node", "PyTorch module", "problem"):
        table.add_column(column, overflow="fold")
    for finding in found.findings:
        table.add_row(finding.label, finding.module or "", finding.problem)
    Console().print(table, markup=False)
