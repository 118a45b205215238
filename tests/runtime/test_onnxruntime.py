from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgepose
from edgepose.errors import ArtefactError, DeviceError, GraphError, SpecError
from edgepose.runtime.onnxruntime import OnnxRunner
from edgepose.spec import KeypointSet, Provenance
from tests.fakes import heatmap_spec, write_tiny_onnx


def test_runs_any_batch_and_describes_itself(tmp_path: Path) -> None:
    path = write_tiny_onnx(tmp_path / "a.onnx", heatmap_spec())
    with OnnxRunner(path, threads=1) as runner:
        for batch in (1, 3):
            outputs = runner.infer(np.ones((batch, 3, 64, 48), np.float32))
            np.testing.assert_allclose(outputs["heatmaps"], 1, rtol=1e-6)
        facts = runner.describe()
    assert facts["providers"][0] == "CPUExecutionProvider"
    assert facts["threads"] == 1


def test_load_gives_an_estimator(tmp_path: Path) -> None:
    path = write_tiny_onnx(tmp_path / "a.onnx", heatmap_spec())
    poses = edgepose.load(path)(np.zeros((100, 80, 3), np.uint8), [[10, 10, 60, 90]])
    assert poses.keypoints.shape == (1, 17, 2)


def test_a_fixed_batch_is_respected(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (100, 80, 3), np.uint8)
    boxes = np.linspace([0, 0, 40, 50], [30, 40, 79, 99], 9)
    free = edgepose.load(write_tiny_onnx(tmp_path / "free.onnx", heatmap_spec()))
    for fixed in (1, 8):
        pose = edgepose.load(write_tiny_onnx(tmp_path / "a.onnx", heatmap_spec(), batch=fixed))
        assert pose.runner.max_batch == fixed
        for people in (1, 3, 9):
            found = pose(image, boxes[:people]).keypoints
            np.testing.assert_allclose(found, free(image, boxes[:people]).keypoints, atol=1e-4)


def test_a_failing_graph_says_so(tmp_path: Path) -> None:
    runner = OnnxRunner(write_tiny_onnx(tmp_path / "a.onnx", heatmap_spec()))
    with pytest.raises(GraphError, match="failed on a batch of 2"):
        runner.infer(np.ones((2, 3, 64, 64), np.float32))


def test_missing_corrupt_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="no file"):
        OnnxRunner(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"not a graph")
    with pytest.raises(GraphError, match="cannot load"):
        OnnxRunner(tmp_path / "bad.onnx")
    whole = write_tiny_onnx(tmp_path / "a.onnx", heatmap_spec())
    whole.write_bytes(whole.read_bytes()[:-500])
    with pytest.raises(GraphError, match="cannot load"):
        OnnxRunner(whole)
    with pytest.raises(SpecError, match=r"carries no edgepose spec[\s\S]*--spec"):
        OnnxRunner(write_tiny_onnx(tmp_path / "b.onnx", None))


def test_a_spec_can_be_given(tmp_path: Path) -> None:
    path = write_tiny_onnx(tmp_path / "a.onnx", None)
    assert OnnxRunner(path, spec=heatmap_spec()).spec.model == "fake"


def test_a_given_spec_takes_nothing_back_of_where_the_weights_come_from(tmp_path: Path) -> None:
    known = Provenance(weights_sha256="ab", trained_on="photos of val2017", holdout_only=True)
    path = write_tiny_onnx(tmp_path / "a.onnx", heatmap_spec(provenance=known))
    other = heatmap_spec(model="renamed", provenance=Provenance(trained_on="nothing at all"))
    with OnnxRunner(path, spec=other) as runner:
        assert runner.spec.model == "renamed"
        assert runner.spec.provenance == known
    # ... but may add to it.
    path = write_tiny_onnx(tmp_path / "b.onnx", heatmap_spec())
    with OnnxRunner(path, spec=heatmap_spec(provenance=known)) as runner:
        assert runner.spec.provenance == known


def test_a_spec_that_contradicts_the_graph(tmp_path: Path) -> None:
    path = write_tiny_onnx(tmp_path / "a.onnx", None)
    two = KeypointSet(names=("a", "b"), flip_pairs=(), skeleton=(), sigmas=(0.1, 0.1))
    for spec, words in (
        (heatmap_spec((128, 96)), "the graph takes"),
        (heatmap_spec(dtype="uint8"), "uint8"),
        (heatmap_spec(layout="nhwc"), "the graph takes"),
        (heatmap_spec(keypoints=two), "heatmaps"),
    ):
        with pytest.raises(SpecError, match=words):
            OnnxRunner(path, spec=spec)
    other = write_tiny_onnx(tmp_path / "b.onnx", heatmap_spec(), output="maps")
    with pytest.raises(SpecError, match="has an output 'heatmaps'"):
        OnnxRunner(other)


def test_a_device_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    import onnxruntime

    path = write_tiny_onnx(tmp_path / "a.onnx", heatmap_spec())
    with pytest.raises(DeviceError, match="unknown device"):
        OnnxRunner(path, device="tpu")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        with pytest.raises(DeviceError, match="not available"):
            OnnxRunner(path, device="cuda")


def test_names_and_files_that_are_no_artefact(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="no trained weights"):
        edgepose.load("mitpose-huge")
    (tmp_path / "w.safetensors").write_bytes(b"x")
    with pytest.raises(GraphError, match=r"not an \.onnx"):
        edgepose.load(tmp_path / "w.safetensors")
