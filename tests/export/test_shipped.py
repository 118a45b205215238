"""The ready ONNX files of the zoo: what exporting the shipped weights makes, and plain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import edgepose
from benchmarks.registry_exports import refuse_unreadable
from edgepose import zoo
from edgepose.crops import box_affines, to_input, warp_crops
from edgepose.export import ExportResult, export_model
from edgepose.export.trace import check_graph
from edgepose.runtime.onnxruntime import OnnxRunner
from edgepose.samples import load_samples

READY = [entry for entry in zoo.entries() if entry.onnx is not None]
DEFAULT = next(entry.name for entry in READY if entry.model == "mitpose-lite" and entry.default)


@pytest.fixture(scope="session")
def lite(tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    """The default model, from its shipped weights through the whole export."""
    return export_model("mitpose-lite", None, tmp_path_factory.mktemp("lite") / "again.onnx")


def assert_same(shipped: Path, again: Path) -> None:
    """The same spec, and the same outputs for real people."""
    with OnnxRunner(shipped) as ours, OnnxRunner(again) as theirs:
        assert ours.spec == theirs.spec
        for sample in load_samples():
            affines = box_affines(sample.boxes, ours.spec.input_size, ours.spec.padding)
            images = to_input(warp_crops(sample.image, affines, ours.spec.input_size), ours.spec)
            expected = ours.infer(images)
            for name, value in theirs.infer(images).items():
                scale = np.abs(expected[name]).max()
                np.testing.assert_allclose(value, expected[name], rtol=0, atol=1e-5 * scale)


def test_exporting_the_default_makes_the_shipped_graph(lite: ExportResult) -> None:
    shipped = zoo.find("mitpose-lite")
    assert shipped.default
    assert shipped.onnx is not None
    assert_same(shipped.onnx, lite.path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "entry", [e for e in READY if e.name != DEFAULT], ids=lambda entry: entry.name
)
def test_exporting_the_others_does_too(entry: zoo.ZooEntry, tmp_path: Path) -> None:
    assert entry.onnx is not None
    assert_same(entry.onnx, export_model(entry.name, None, tmp_path / "again.onnx").path)


def test_the_spec_says_what_the_zoo_says() -> None:
    for entry in READY:
        assert entry.onnx is not None
        with OnnxRunner(entry.onnx) as shipped:
            provenance = shipped.spec.provenance
        assert provenance.trained_on == entry.figures["trained_on"]
        assert provenance.holdout_only is entry.figures["holdout_only"]
        assert [m.ap for m in provenance.measured] == [m["ap"] for m in entry.figures["measured"]]


def test_what_the_result_tells_is_in_the_file(lite: ExportResult) -> None:
    model = onnx.load(lite.path)
    check_graph(model, ["heatmaps"])
    assert lite.nodes == len(model.graph.node)
    assert lite.sha256 == zoo.sha256_of(lite.path)
    assert lite.parity
    assert lite.parity.persons == sum(len(sample.boxes) for sample in load_samples())
    assert lite.spec.provenance.trained_on
    assert lite.spec.provenance.holdout_only
    with edgepose.load(lite.path) as pose:
        assert pose.spec == lite.spec
        sample = load_samples()[0]
        assert pose(sample.image, sample.boxes).keypoints.shape == (len(sample.boxes), 17, 2)


def test_the_default_is_rewritten(lite: ExportResult) -> None:
    assert [rewrite.name for rewrite in lite.rewrites] == [
        "batchnorm", "grn", "local", "attention", "scconv", "conv-norm",
    ]  # fmt: skip
    operators = refuse_unreadable(onnx.load(lite.path))
    assert not {"Einsum", "Loop", "If", "Scan"} & operators.keys()


def test_only_plain_tensors_and_the_norms_that_feed_a_gate_are_left(lite: ExportResult) -> None:
    graph = onnx.load(lite.path).graph
    kinds = {tensor.data_type for tensor in graph.initializer}
    assert kinds <= {onnx.TensorProto.FLOAT, onnx.TensorProto.INT64}
    assert sum(node.op_type == "BatchNormalization" for node in graph.node) == 6  # SRU's own
