"""The export verb from an ONNX file on: precisions, engines, and what it says without a GPU."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from edgepose.cli import app
from edgepose.errors import InputError, MissingDependency, ParityError
from edgepose.trt import api, sidecar
from edgepose.trt.gpu import find_gpu
from tests.engine import graphs

# The package gives its function by the module's name.
VERB = importlib.import_module("edgepose.cli.export")
needs_rtx = pytest.mark.skipif(
    not api.installed("tensorrt-rtx"), reason="needs TensorRT-RTX: pip install edgepose[rtx]"
)


@pytest.fixture
def onnx(tmp_path: Path) -> Path:
    return graphs.write(tmp_path / "pose.onnx")


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["export", *arguments], env={"COLUMNS": "120"})


@needs_rtx
def test_a_file_becomes_an_engine_beside_it(onnx: Path) -> None:
    done = run(str(onnx), "--to", "rtx-engine", "--batch", "1,2,4", "--json")
    assert done.exit_code == 0
    data = json.loads(done.stdout)
    assert list(data) == ["engine"]
    engine = onnx.with_suffix(".engine")
    assert data["engine"]["engine"] == str(engine)
    assert sidecar.read(engine).max_batch == 4
    assert "building an engine with TensorRT-RTX" in done.stderr


@needs_rtx
@pytest.mark.skipif(find_gpu() is not None, reason="a GPU is here")
def test_for_people_it_says_what_is_not_proven(onnx: Path) -> None:
    done = run(str(onnx), "--to", "rtx-engine")
    assert done.stdout == ""
    assert "no GPU is here" in done.stderr
    assert "and its sidecar in" in done.stderr


@needs_rtx
def test_another_precision_and_an_engine_in_one_go(onnx: Path) -> None:
    done = run(str(onnx), "--precision", "fp16", "--to", "rtx-engine", "--json")
    assert done.exit_code == 0
    data = json.loads(done.stdout)
    assert data["precision"] == "fp16"
    assert data["artefact"] == str(onnx.parent / "pose-fp16.onnx")
    assert data["engine"]["sidecar"]["precision"] == "fp16"
    assert data["engine"]["engine"] == str(onnx.parent / "pose-fp16.engine")


def test_without_tensorrt_it_says_what_brings_it(
    onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(api._MODULES, "tensorrt", ("no_such_tensorrt",))
    done = run(str(onnx), "--to", "engine")
    assert isinstance(done.exception, MissingDependency)
    assert done.exception.exit_code == 4
    assert sorted(p.name for p in onnx.parent.iterdir()) == ["pose.onnx"]


def test_a_file_that_has_the_precision_is_left_alone(onnx: Path) -> None:
    assert run(str(onnx), "--precision", "fp16").exit_code == 0
    half = onnx.parent / "pose-fp16.onnx"
    done = run(str(half), "--precision", "fp16")
    assert isinstance(done.exception, InputError)
    assert "it is fp16 already, and nothing else was asked for" in str(done.exception)
    assert "--precision int8" not in str(done.exception)


def test_digits_that_are_gone_do_not_come_back(onnx: Path) -> None:
    assert run(str(onnx), "--precision", "fp16").exit_code == 0
    half = str(onnx.parent / "pose-fp16.onnx")
    for options in (["--precision", "fp32"], ["--recipe", "cpu"]):
        done = run(half, *options)
        assert isinstance(done.exception, InputError)
        assert "is fp16, and FP32 was asked for" in str(done.exception)


def test_a_recipe_alone_asks_whether_its_runtime_reads_the_file(onnx: Path) -> None:
    done = run(str(onnx), "--recipe", "cpu", "--json")
    assert json.loads(done.stdout)["lint"]["target"] == "ort"


def test_no_engine_can_be_built_is_said_before_the_work(
    onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(api._MODULES, "tensorrt", ("no_such_tensorrt",))
    done = run(str(onnx), "--precision", "fp16", "--to", "engine")
    assert isinstance(done.exception, MissingDependency)
    assert sorted(p.name for p in onnx.parent.iterdir()) == ["pose.onnx"]


def test_an_engine_that_is_refused_leaves_its_onnx_file_and_says_so(
    onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> Any:
        raise ParityError("the engine does not find the poses")

    monkeypatch.setattr(VERB, "_check_builder", lambda plan: None)
    monkeypatch.setattr(VERB, "_build", refused)
    done = run(str(onnx), "--precision", "fp16", "--to", "engine", "--json")
    assert isinstance(done.exception, ParityError)
    half = onnx.parent / "pose-fp16.onnx"
    assert json.loads(done.stdout) == {"artefact": str(half), "parity": None}
    assert half.is_file()


def test_int8_is_timed_on_this_cpu_only_where_it_is_made_for_it(
    onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[bool] = []

    def file_export(model: str, **how: Any) -> Any:
        given.append("timed" in how)
        raise InputError("enough")

    monkeypatch.setattr("edgepose.export.export_file", file_export)
    for options in ([], ["--target", "trt-8.6"], ["--target", "ort"]):
        run(str(onnx), "--precision", "int8", "--calib", str(onnx.parent), *options)
    assert given == [True, False, True]


def test_people_see_what_was_kept(onnx: Path) -> None:
    done = run(str(onnx), "--precision", "fp16", "--bisect")
    assert "poses were not judged, random weights find none" in done.stdout.replace("\n", " ")
    assert "kept in more digits" in done.stderr
    assert "no one tensor leaves FP32" in done.stderr


@pytest.mark.parametrize(
    "options",
    [
        ["--batch", "1,2,4"],
        ["--opset", "17", "--precision", "fp16"],
        ["--precision", "fp16", "--to", "engine", "-o", "x.plan"],
        ["--to", "rtx-engine", "--bisect"],
        ["--to", "rtx-engine", "--calib", "."],
        ["--precision", "fp16", "--max-ap-drop", "1"],
    ],
)
def test_what_does_not_fit_together_is_usage(onnx: Path, options: list[str]) -> None:
    assert run(str(onnx), *options).exit_code == 2
