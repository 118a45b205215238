"""The README's generated parts are what the package prints of what is there."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from edgepose.bench.record import read_artefact_records
from edgepose.bench.report import markdown
from edgepose.cli import app

RECORDS = Path("benchmarks") / "results" / "amd-epyc-2cores" / "cpu-suite"


def test_the_table_of_models_is_up_to_date(repo_root: Path) -> None:
    table = CliRunner().invoke(app, ["models", "--markdown"], catch_exceptions=False).stdout
    assert table in (repo_root / "README.md").read_text(encoding="utf-8"), "run scripts/tables"


def test_the_benchmark_is_that_of_the_records(repo_root: Path) -> None:
    """Nobody edits a figure by hand."""
    table = markdown(read_artefact_records(repo_root / RECORDS)).rstrip()
    assert table in (repo_root / "README.md").read_text(encoding="utf-8"), "run scripts/tables"
