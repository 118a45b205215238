from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from edgepose.errors import GraphError, InputError
from edgepose.export.precision.ranges import Range, float_activations, tensor_ranges
from edgepose.export.precision.session import Slices
from tests.export.precision.graphs import conv, graph, images, node, random_weight


def chain(length: int) -> onnx.ModelProto:
    """So many scalings by two, and a skip from the input to the end."""
    names = ["images", *(f"t{i}" for i in range(length))]
    nodes = [node("Mul", f"{a} two", b) for a, b in pairwise(names)]
    return graph([*nodes, node("Sub", f"{names[-1]} images", "y")], {"two": 2.0})


def test_every_activation_by_hand() -> None:
    values = np.zeros((2, 3, 8, 8), np.float32)
    values[1, 2, 3, 4], values[0, 0, 0, 0] = 3.0, -5.0
    model = graph(
        [
            node("Mul", "images two", "double"),
            node("Relu", "double", "positive"),
            node("Shape", "positive", "shape"),
            node("Reshape", "positive shape", "y"),
        ],
        {"two": 2.0},
    )
    assert tensor_ranges(model, [values]) == {
        "images": Range(-5, 3),
        "double": Range(-10, 6),
        "positive": Range(0, 6),
        "y": Range(0, 6),
    }


def test_batches_widen_the_range_and_are_read_one_at_a_time() -> None:
    read = []

    def batches() -> Iterator[np.ndarray]:
        for value in (1.0, -2.0, 0.5):
            read.append(value)
            yield np.full((1 + len(read), 3, 8, 8), value, np.float32)

    ranges = tensor_ranges(graph([node("Relu", "images", "y")]), batches())
    assert ranges == {"images": Range(-2, 1), "y": Range(0, 1)}
    assert read == [1.0, -2.0, 0.5]


def test_a_graph_of_many_slices_is_the_same_as_in_one_piece() -> None:
    model = chain(100)
    ranges = tensor_ranges(model, [np.ones((1, 3, 8, 8), np.float32)])
    assert list(ranges) == float_activations(model)
    assert ranges["t50"] == Range(2.0**51, 2.0**51)
    assert ranges["y"].high == 2.0**100


def test_few_tensors_are_held_at_a_time() -> None:
    model = chain(100)
    wanted = float_activations(model)
    slices = [list(tensors) for tensors in Slices(model, wanted).run(images(1))]
    assert [name for tensors in slices for name in tensors] == wanted
    assert max(map(len, slices)) <= 32


def test_overflow_of_fp32_is_an_infinite_range() -> None:
    with np.errstate(over="ignore"):
        ranges = tensor_ranges(chain(130), [np.ones((1, 3, 8, 8), np.float32)])
    assert ranges["t129"].reach == np.inf


def test_nan_names_the_tensor() -> None:
    model = graph([node("Sqrt", "images", "root"), node("Relu", "root", "y")])
    with pytest.raises(GraphError, match="'root' holds NaN"):
        tensor_ranges(model, [images()])


def test_no_batch_is_an_error() -> None:
    with pytest.raises(InputError, match="nothing to take ranges from"):
        tensor_ranges(chain(2), [])


def test_several_outputs_of_a_node_and_bytes_as_input() -> None:
    model = graph(
        [
            node("Cast", "images", "float", to=TensorProto.FLOAT),
            node("Split", "float", "upper lower", axis=2, num_outputs=2),
            node("Add", "upper lower", "y"),
        ],
        kind=TensorProto.UINT8,
    )
    values = np.zeros((1, 3, 8, 8), np.uint8)
    values[:, :, :4] = 7
    ranges = tensor_ranges(model, [values])
    assert ranges["upper"] == Range(7, 7)
    assert ranges["lower"] == Range(0, 0)
    assert "images" not in ranges


def test_heavy_weights_reach_the_runtime_as_they_are() -> None:
    weight = random_weight(64, 3, 5, 5)
    model = graph([conv("images", "y", pads=[2] * 4)], {"w": weight})
    assert len(model.graph.initializer[0].raw_data) > 2**12
    before = model.SerializeToString()
    spike = np.zeros((1, 3, 8, 8), np.float32)
    spike[0, 1, 4, 4] = 1.0
    seen = tensor_ranges(model, [spike])["y"]
    assert seen == Range(min(0, weight[:, 1].min()), max(0, weight[:, 1].max()))
    assert model.SerializeToString() == before


def test_weights_in_another_file_are_refused() -> None:
    model = graph([conv("images", "y", pads=[2] * 4)], {"w": random_weight(64, 3, 5, 5)})
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    with pytest.raises(GraphError, match="weight 'w' is not in memory"):
        tensor_ranges(model, [images()])
