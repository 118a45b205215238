"""``edgepose export … --target``: what is shown, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from typer.testing import CliRunner

from edgepose.cli import app
from edgepose.errors import GraphError, InputError, LintError
from edgepose.export.lint import TARGETS, lint, refusal
from tests.export.lint.cases import CASES

INDICES = next(case.model for case in CASES if case.name == "maxpool with indices")
FINE = next(case.model for case in CASES if case.name == "relu")


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["export", *arguments], env={"COLUMNS": "120"})


@pytest.fixture
def refused(tmp_path: Path) -> str:
    onnx.save(INDICES, tmp_path / "i.onnx")
    return str(tmp_path / "i.onnx")


@pytest.fixture
def fine(tmp_path: Path) -> str:
    onnx.save(FINE, tmp_path / "f.onnx")
    return str(tmp_path / "f.onnx")


def test_a_file_is_looked_at(fine: str) -> None:
    done = run(fine, "--target", "trt-10")
    assert done.exit_code == 0
    assert done.stdout == ""
    assert done.stderr == "TensorRT 10 reads all 1 nodes by its table\n"


def test_a_file_is_refused_with_a_table(refused: str) -> None:
    done = run(refused, "--target", "trt-10")
    assert isinstance(done.exception, LintError)
    assert done.exception.exit_code == 1
    assert "What TensorRT 10 does not read" in done.stdout
    assert "its Indices output is not supported" in done.stdout


def test_the_verdict_as_json(fine: str, refused: str) -> None:
    data = json.loads(run(fine, "--target", "ort", "--json").stdout)
    assert data["artefact"] == fine
    assert data["lint"]["target"] == "ort"
    assert data["lint"]["parser"]["supported"] is True
    done = run(refused, "--target", "trt-11", "--json")
    assert isinstance(done.exception, LintError)
    (finding,) = json.loads(done.stdout)["lint"]["findings"]
    assert finding["op"] == "MaxPool"


def test_a_refused_export_shows_its_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    found = lint(INDICES, TARGETS["trt-10"])
    seen: dict[str, Any] = {}

    def quick(*arguments: Any, **options: Any) -> None:
        seen.update(options)
        raise refusal(INDICES, found)

    monkeypatch.setattr("edgepose.export.export_model", quick)
    done = run("mitpose-lite", "--target", "trt-10", "--json")
    assert isinstance(done.exception, LintError)
    data = json.loads(done.stdout)
    assert data == {"artefact": None, "lint": found.to_dict()}
    assert seen["target"] == "trt-10"
    assert seen["opset"] is None
    assert "Indices" in run("mitpose-lite", "--target", "trt-10").stdout


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (["--target", "trt10"], InputError, "did you mean trt-10"),
        ([], InputError, "--target trt-10"),
    ],
    ids=["unknown target", "no target"],
)
def test_what_cannot_be_done(fine: str, arguments: list[str], error: type, said: str) -> None:
    done = run(fine, *arguments)
    assert isinstance(done.exception, error)
    assert said in str(done.exception)


def test_a_missing_file(tmp_path: Path) -> None:
    done = run(str(tmp_path / "none.onnx"), "--target", "ort")
    assert isinstance(done.exception, GraphError)


@pytest.mark.parametrize("option", [["--fold-io"], ["--opset", "17"], ["-o", "y.onnx"]])
def test_looking_takes_no_options_of_exporting(fine: str, option: list[str]) -> None:
    assert run(fine, "--target", "ort", *option).exit_code == 2
