"""The activation peak of graphs that a reader can follow: all tensors have 48 numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgepose.bench.cost import onnx_cost
from tests.bench.cost.graphs import node, weight, write

ONE = 48 * 4  # bytes


SCALE = {"s": np.array(0.1, np.float32), "z": np.array(0, np.int8)}


def quantise(x: str, y: str) -> onnx.NodeProto:
    return node("QuantizeLinear", [x, "s", "z"], [y])


def dequantise(x: str, y: str) -> onnx.NodeProto:
    return node("DequantizeLinear", [x, "s", "z"], [y])


def conv(x: str, y: str) -> onnx.NodeProto:
    return node("Conv", [x, "w"], [y])


@pytest.mark.parametrize(
    ("nodes", "tensors"),
    [
        # what is read and what is written
        ([conv("x", "a"), conv("a", "y")], 2),
        # x waits for the sum
        ([conv("x", "a"), conv("a", "b"), node("Add", ["x", "b"], ["y"])], 3),
        # a ReLU writes over what it reads, but never over the caller's input
        ([conv("x", "a"), node("Relu", ["a"], ["y"])], 2),
        ([node("Relu", ["x"], ["a"]), node("Relu", ["a"], ["y"])], 2),
        # ... nor over what somebody reads later
        ([conv("x", "a"), node("Relu", ["a"], ["b"]), node("Sub", ["a", "b"], ["y"])], 2),
        (
            [conv("x", "a"), node("Relu", ["a"], ["b"]), conv("b", "c"),
             node("Sub", ["a", "c"], ["y"])], 3,
        ),
        # the branches of a concatenation and its result
        ([conv("x", "a"), conv("x", "b"), node("Concat", ["a", "b"], ["y"], axis=1)], 4),
        # a view is no tensor of its own, and keeps its source alive
        ([conv("x", "a"), node("Identity", ["a"], ["b"]), node("Dropout", ["b"], ["y"])], 2),
        (
            [conv("x", "a"), node("Identity", ["a"], ["b"]), conv("x", "c"),
             node("Sub", ["b", "c"], ["y"])], 3,
        ),
        # a view of a tensor that is read again is not written over
        (
            [conv("x", "a"), node("Identity", ["a"], ["b"]), node("Relu", ["b"], ["c"]),
             conv("c", "d"), node("Sub", ["d", "a"], ["y"])], 3,
        ),
        # a second output that nobody reads is written all the same
        ([node("Split", ["x"], ["y", "z"], axis=1, num_outputs=2)], 2),
    ],
)  # fmt: skip
def test_peak(nodes: Sequence[onnx.NodeProto], tensors: int, tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.onnx",
        nodes,
        {"w": weight(4, 4, 1, 1)},
        inputs={"x": ["n", 4, 4, 3]},
        outputs=["y"],
    )
    assert onnx_cost(file).activation_peak_bytes == tensors * ONE


def test_outputs_live_to_the_end(tmp_path: Path) -> None:
    nodes = [conv("x", "early"), conv("x", "a"), conv("a", "b"), conv("b", "late")]
    for outputs, tensors in ((["late"], 2), (["early", "late"], 3)):
        file = write(
            tmp_path / "a.onnx",
            nodes,
            {"w": weight(4, 4, 1, 1)},
            inputs={"x": ["n", 4, 4, 3]},
            outputs=outputs,
        )
        assert onnx_cost(file).activation_peak_bytes == tensors * ONE


def test_numbers_of_other_sizes(tmp_path: Path) -> None:
    """int64 indices take eight bytes each, masks one."""
    file = write(
        tmp_path / "a.onnx",
        [
            node("ArgMax", ["x"], ["index"], axis=1, keepdims=1),  # 12 of int64
            node("Greater", ["x", "zero"], ["mask"]),  # 48 of one byte
            node("Cast", ["mask"], ["numbers"], to=1),
            node("GatherElements", ["numbers", "index"], ["y"], axis=1),
        ],
        {"zero": weight(1)},
        inputs={"x": ["n", 4, 4, 3]},
        outputs=["y"],
    )
    # While the mask is cast: the indices, the mask, the numbers.
    cast = 12 * 8 + 48 + ONE
    compare = ONE + 12 * 8 + 48
    gather = ONE + 12 * 8 + 12 * 4
    assert onnx_cost(file).activation_peak_bytes == max(cast, compare, gather)


def test_what_the_caller_gets_in_floats_is_held_in_floats(tmp_path: Path) -> None:
    """Two outputs of 30,000 floats live side by side, whatever was quantised before them."""
    nodes = [
        quantise("x", "q"),
        dequantise("q", "d"),
        node("Transpose", ["d"], ["y"], perm=[0, 1, 3, 2]),
        node("Identity", ["d"], ["z2"]),
    ]
    file = write(
        tmp_path / "a.onnx",
        nodes,
        SCALE,
        inputs={"x": ["n", 3, 100, 100]},
        outputs=["y", "z2"],
        kind=1,
    )
    assert onnx_cost(file).activation_peak_bytes == 240_000


@pytest.mark.parametrize(
    ("readers", "bytes_held"),
    [
        # Kernels of eight bits read the block as it is: while b is written, it and b's floats.
        ([conv("d", "y")], 48 + ONE),
        ([node("Reshape", ["d", "shape"], ["r"]), conv("r", "y")], 48 + ONE),
        ([node("Add", ["d", "d"], ["a"]), quantise("a", "b"), dequantise("b", "e"),
          conv("e", "y")], 48 + ONE),
        # ... but an addition in floats, or any other kernel, needs floats, beside what it writes.
        ([node("Cos", ["d"], ["c"]), conv("d", "e"), node("Sub", ["c", "e"], ["y"])], 3 * ONE),
        ([node("Concat", ["d", "d"], ["y"], axis=1)], 3 * ONE),
        ([node("Reshape", ["d", "shape"], ["r"]), node("Cos", ["r"], ["c"]), conv("c", "e"),
          node("Sub", ["d", "e"], ["y"])], 3 * ONE),
    ],
)  # fmt: skip
def test_who_reads_what_was_quantised(
    readers: Sequence[onnx.NodeProto], bytes_held: int, tmp_path: Path
) -> None:
    file = write(
        tmp_path / "a.onnx",
        [node("Slice", ["x", "start", "stop"], ["first"]), quantise("first", "q"),
         dequantise("q", "d"), *readers],
        {"w": weight(4, 4, 1, 1), "shape": np.array([-1, 4, 4, 3]), "start": np.array([0]),
         "stop": np.array([2**31]), **SCALE},
        inputs={"x": ["n", 4, 4, 3]},
        outputs=["y"],
    )  # fmt: skip
    assert onnx_cost(file).activation_peak_bytes == max(bytes_held, ONE + 48)
