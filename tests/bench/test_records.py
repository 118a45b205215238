from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from edgepose.bench import BenchRecord, describe_artefact, read_record
from edgepose.errors import InputError, OutputError
from edgepose.estimator import Estimator
from edgepose.runtime.onnxruntime import OnnxRunner
from edgepose.spec import PoseSpec
from tests.fakes import FakeRunner, brightness_maps, heatmap_spec, write_tiny_onnx


def record(**changes: object) -> BenchRecord:
    values = {
        "kind": "latency",
        "command": "edgepose bench a.onnx --images rtsp://me:secret@cam/x",
        "artefact": {"name": "dir/a.onnx", "sha256": "0123456789abcdef"},
        "runner": {"runtime": "onnxruntime", "version": "1.2"},
        "protocol": {},
        "results": [],
    }
    return BenchRecord(**(values | changes))  # type: ignore[arg-type]


def test_there_and_back(tmp_path: Path) -> None:
    written = record()
    path = written.write(tmp_path / "new" / "folder")
    assert path.name.startswith("a-01234567_latency_")
    assert path.name.endswith("_onnxruntime-1.2.json")
    again = read_record(path)
    assert again.to_dict() == written.to_dict()
    assert next(iter(json.loads(path.read_text()))) == "schema"


def test_samples_are_one_line_a_visit_and_nothing_else_changes(tmp_path: Path) -> None:
    results = [{"samples_ms": [[1.5, 2e-7, -3], [4.0]], "names": ["[ 1 ]", "x, y"], "none": []}]
    path = record(results=results).write(tmp_path)
    assert json.loads(path.read_text())["results"] == results
    assert "[1.5, 2e-07, -3]" in path.read_text()


def test_no_secret_is_written(tmp_path: Path) -> None:
    text = record().write(tmp_path).read_text()
    assert "secret" not in text
    assert "rtsp://***@cam/x" in text


def test_what_is_no_record_is_refused(tmp_path: Path) -> None:
    path = record().write(tmp_path)
    good = json.loads(path.read_text())
    for text, match in [
        (json.dumps(good | {"schema": 99}), "schema 99"),
        ("[]", "schema None"),
        ("{", "cannot read"),
        (json.dumps(good | {"surprise": 1}), "surprise"),
    ]:
        path.write_text(text)
        with pytest.raises(InputError, match=match):
            read_record(path)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        record().write(tmp_path / "file" / "below")


def test_the_artefact_is_described_by_its_digest_and_spec(tmp_path: Path) -> None:
    path = write_tiny_onnx(tmp_path / "t.onnx", heatmap_spec())
    found = describe_artefact(Estimator(OnnxRunner(path)), "t.onnx")
    assert found["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found["bytes"] == path.stat().st_size
    assert PoseSpec.from_dict(found["spec"]) == heatmap_spec()
    with pytest.raises(TypeError, match="FakeRunner"):
        describe_artefact(Estimator(FakeRunner(heatmap_spec(), brightness_maps)), "f")
