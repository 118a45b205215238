from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgepose
from edgepose.errors import GraphError, SpecError
from edgepose.spec import COCO_KEYPOINTS
from edgepose.spec_guess import guess_spec
from tests.fakes import write_tiny_onnx


def write_graph(path: Path, shape: list[Any], outputs: list[list[Any]]) -> Path:
    """A graph with that input, and outputs made of nothing but their shapes."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, infos, constants = [], [], []
    for number, tail in enumerate(outputs):
        name = f"out{number}"
        constants.append(numpy_helper.from_array(np.zeros([1, *tail], np.float32), f"c{number}"))
        nodes.append(helper.make_node("Identity", [f"c{number}"], [name]))
        infos.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, *tail]))
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "g", [images], infos, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)
    return path


def test_heatmaps(tmp_path: Path) -> None:
    path = write_tiny_onnx(tmp_path / "net.onnx", None, size=(64, 48), output="whatever")
    spec = guess_spec(path)
    assert (spec.model, spec.output, spec.input_size) == ("net", "heatmap", (64, 48))
    assert (spec.layout, spec.dtype) == ("nchw", "float32")
    assert spec.keypoints == COCO_KEYPOINTS
    # And the estimator takes it, though its output has a name of its own.
    with edgepose.load(path, spec=spec) as pose:
        poses = pose(np.full((80, 60, 3), 9, np.uint8))
    assert poses.keypoints.shape == (1, 17, 2)


@pytest.mark.parametrize("order", [(384, 512), (512, 384)])
def test_simcc(order: tuple[int, int], tmp_path: Path) -> None:
    outputs = [[17, bins] for bins in order]
    path = write_graph(tmp_path / "net.onnx", ["batch", 3, 256, 192], outputs)
    spec = guess_spec(path)
    assert (spec.output, spec.input_size, spec.decoder.split_ratio) == ("simcc", (256, 192), 2.0)
    with edgepose.load(path, spec=spec) as pose:
        assert pose(np.full((80, 60, 3), 9, np.uint8)).keypoints.shape == (1, 17, 2)


def test_other_keypoints_have_numbers_for_names(tmp_path: Path) -> None:
    spec = guess_spec(write_tiny_onnx(tmp_path / "net.onnx", None, keypoints=5))
    assert spec.keypoints.names == tuple(f"point_{i}" for i in range(5))
    assert spec.keypoints.skeleton == ()


@pytest.mark.parametrize(
    ("shape", "outputs"),
    [
        ([1, 3, "height", "width"], [[17, 64, 48]]),
        ([1, 512], [[17, 64, 48]]),
        ([1, 3, 256, 192], [[17, 2]]),
        ([1, 3, 256, 192], [[17, 384], [17, 500]]),
        ([1, 3, 256, 192], [[17, 384], [16, 512]]),
        ([1, 3, 256, 192], [[17, 64, 48], [17, 64, 48]]),
    ],
)
def test_what_cannot_be_guessed(shape: list[Any], outputs: list[Any], tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"cannot guess[\s\S]*--spec FILE\.toml"):
        guess_spec(write_graph(tmp_path / "net.onnx", shape, outputs))


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="there is no file"):
        guess_spec(tmp_path / "none.onnx")
