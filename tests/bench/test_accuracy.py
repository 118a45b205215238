from __future__ import annotations

from pathlib import Path

from edgepose.bench import accuracy_record
from edgepose.bench.report import accuracy_table
from edgepose.estimator import Estimator
from edgepose.evaluate import CocoKeypoints, evaluate
from edgepose.runtime.onnxruntime import OnnxRunner
from tests.evaluate.folders import person, write_folder
from tests.fakes import heatmap_spec, write_tiny_onnx


def test_a_record_of_both_protocols(tmp_path: Path) -> None:
    people = [person(30, 139, (10, 10, 60, 100)), person(60, 139, (90, 20, 80, 90))]
    dataset = CocoKeypoints.load(write_folder(tmp_path / "c", people, {139: "000000000139.png"}))
    path = write_tiny_onnx(tmp_path / "t.onnx", heatmap_spec())
    estimator = Estimator(OnnxRunner(path, threads=1))
    steps: list[tuple[int, int]] = []
    record = accuracy_record(
        "t",
        estimator,
        dataset,
        (False, True),
        "edgepose bench t --coco c",
        progress=lambda done, total: steps.append((done, total)),
    )
    assert steps == [(2, 4), (4, 4)]
    assert [r["protocol"]["flip"] for r in record.results] == [False, True]
    assert record.results[0] == evaluate(estimator, dataset).to_dict()
    assert record.results[0]["metrics"]["ap_medium"] is not None
    assert record.results[0]["metrics"]["ap_large"] is None  # nobody here is that large
    assert accuracy_table([record]).row_count == 2
