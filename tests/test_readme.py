"""The README's generated table is the one that the package prints."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from edgepose.cli import app


def test_the_table_of_models_is_up_to_date(repo_root: Path) -> None:
    table = CliRunner().invoke(app, ["models", "--markdown"], catch_exceptions=False).stdout
    assert table in (repo_root / "README.md").read_text(encoding="utf-8"), "run scripts/tables"
