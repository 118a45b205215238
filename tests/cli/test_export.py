"""The export verb: what it prints where, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from edgepose.cli import app
from edgepose.errors import InputError, ParityError
from edgepose.export import Applied, ExportResult, pipeline
from edgepose.parity import compare
from tests.export.tiny import people
from tests.fakes import FakeRunner, brightness_maps, heatmap_spec


def noisy_maps(images: np.ndarray) -> dict[str, np.ndarray]:
    return {"heatmaps": brightness_maps(images)["heatmaps"][:, :, ::-1]}


@pytest.fixture
def replaced(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], dict[str, Any]]:
    """Put a quick export in the slow one's place; it passes or fails as asked."""

    def replace(passes: bool) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        spec = heatmap_spec()
        theirs = brightness_maps if passes else noisy_maps
        parity = compare(FakeRunner(spec, brightness_maps), FakeRunner(spec, theirs), people(2))

        def quick(model: str, weights: Any, out: Path | None, **options: Any) -> ExportResult:
            seen.update(model=model, weights=weights, out=out, **options)
            options["progress"]("tracing something")
            if not parity:
                raise ParityError("x.onnx does not find the poses", "far off", parity=parity)
            return ExportResult(
                path=Path("x.onnx"),
                sha256="ab",
                size_bytes=2**21,
                opset=18,
                nodes=7,
                spec=spec,
                rewrites=(Applied("grn", "one product", 8),),
                parity=parity,
                seconds=1.0,
            )

        monkeypatch.setattr("edgepose.export.export_model", quick)
        return seen

    return replace


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["export", *arguments], env={"COLUMNS": "120"})


def test_the_table_is_data_and_the_steps_are_talk(replaced: Any) -> None:
    replaced(True)
    done = run("mitpose-lite")
    assert done.exit_code == 0
    assert "the same poses" in done.stdout
    assert "keypoint error, median" in done.stdout
    assert "tracing something" in done.stderr
    assert "wrote x.onnx (2.0 MiB, 7 nodes, operator set 18)" in done.stderr
    assert "tracing" not in done.stdout


def test_json_is_all_there_is_on_stdout(replaced: Any) -> None:
    replaced(True)
    data = json.loads(run("mitpose-lite", "--json").stdout)
    assert data["artefact"] == "x.onnx"
    assert data["parity"]["passed"] is True
    assert data["rewrites"] == [{"name": "grn", "effect": "one product", "places": 8}]


def test_options_arrive(replaced: Any, tmp_path: Path) -> None:
    seen = replaced(True)
    run("mgil-w32-32", "--opset", "17", "--fold-io", "-o", "y.onnx", "--images", str(tmp_path))
    assert (seen["model"], seen["opset"], seen["fold_io"]) == ("mgil-w32-32", 17, True)
    assert (seen["out"], seen["images"]) == (Path("y.onnx"), tmp_path)
    assert seen["random_weights"] is False


def test_other_poses_show_the_table_and_end_with_3(replaced: Any) -> None:
    replaced(False)
    done = run("mitpose-lite")
    assert isinstance(done.exception, ParityError)
    assert done.exception.exit_code == 3
    assert "NOT the same poses" in done.stdout


def test_other_poses_as_json(replaced: Any) -> None:
    replaced(False)
    data = json.loads(run("mitpose-lite", "--json").stdout)
    assert data["artefact"] is None
    assert data["parity"]["passed"] is False
    assert data["parity"]["failures"]


def test_an_onnx_file_is_no_model_name() -> None:
    done = run("x.onnx")
    assert isinstance(done.exception, InputError)
    assert "already" in str(done.exception)


def test_two_sorts_of_weights_are_usage() -> None:
    assert run("mitpose-lite", "--weights", "w.safetensors", "--random-weights").exit_code == 2


def test_the_shipped_options_reach_the_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing between the verb and the module that is exported swallows an error."""
    monkeypatch.setattr(pipeline, "sample_photos", lambda: people(1))
    done = run("mitpose-lit")
    assert isinstance(done.exception, InputError)
    assert "did you mean mitpose-lite" in str(done.exception)
