"""Whole graphs: what runs, in which shape, and what each number of the section is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepose.bench.cost import onnx_cost
from edgepose.errors import GraphError
from edgepose.spec import METADATA_KEY
from tests.bench.cost.graphs import node, weight, write
from tests.fakes import heatmap_spec

CONV = 3 * 4 * 4 * 3 * 9  # of 3 channels on a 4x4 map, 3x3


def conv(x: str, y: str, w: str = "w", **attributes: object) -> onnx.NodeProto:
    return node("Conv", [x, w], [y], pads=[1, 1, 1, 1], **attributes)


def test_a_graph_of_two_layers(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.onnx",
        [
            node("Conv", ["x", "stem.conv.weight", "stem.conv.bias"], ["a"], pads=[1] * 4),
            node("Relu", ["a"], ["b"]),
            node("Flatten", ["b"], ["c"]),
            node("Gemm", ["c", "head.weight"], ["y"], name="head_gemm"),
        ],
        {
            "stem.conv.weight": weight(3, 3, 3, 3),
            "stem.conv.bias": weight(3),
            "head.weight": weight(48, 5),
        },
        inputs={"x": ["batch", 3, 4, 4]},
        outputs=["y"],
    )
    cost = onnx_cost(file)
    assert [layer.to_dict() for layer in cost.layers] == [
        {
            "name": "Conv_0", "op": "Conv", "shape": [1, 3, 4, 4], "macs": CONV, "params": 84,
            "module": "stem.conv",
        },
        {
            "name": "head_gemm", "op": "Gemm", "shape": [1, 5], "macs": 240, "params": 240,
            "module": "head",
        },
    ]  # fmt: skip
    assert cost.gmacs == pytest.approx((CONV + 240) / 1e9)
    assert (cost.params, cost.uncounted, cost.batch, cost.notes) == (324, (), 1, ())
    assert cost.activation_peak_bytes == 2 * 48 * 4


def test_what_no_output_needs_and_what_is_constant_counts_nothing(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.onnx",
        [
            node("MatMul", ["u", "v"], ["w"]),  # folded at load: both are constant
            node("MatMul", ["x", "w"], ["y"]),
            node("MatMul", ["x", "w"], ["nobody's"]),
        ],
        {"u": weight(4, 8), "v": weight(8, 5)},
        inputs={"x": ["n", 4]},
        outputs=["y"],
    )
    cost = onnx_cost(file)
    assert [(layer.macs, layer.params) for layer in cost.layers] == [(20, 32 + 40)]


def test_a_fixed_batch_is_counted_for_one_of_its_persons(tmp_path: Path) -> None:
    nodes, weights = [conv("x", "y")], {"w": weight(3, 3, 3, 3)}
    free, fixed = (
        onnx_cost(
            write(tmp_path / f"{n}.onnx", nodes, weights, inputs={"x": [n, 3, 4, 4]}, outputs=["y"])
        )
        for n in ("n", 4)
    )
    assert (free.gmacs, free.params) == (fixed.gmacs, fixed.params) == (CONV / 1e9, 81)
    assert (free.batch, fixed.batch) == (1, 4)
    assert fixed.activation_peak_bytes == 4 * free.activation_peak_bytes
    assert "batches of 4 and no others" in fixed.notes[0]


def test_an_open_size_comes_from_the_spec(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.onnx",
        [conv("x", "y")],
        {"w": weight(3, 3, 3, 3)},
        inputs={"x": ["n", 3, "h", "w"]},
        outputs=["y"],
    )
    assert onnx_cost(file, heatmap_spec((4, 4))).gmacs == CONV / 1e9
    [missing] = onnx_cost(file).uncounted
    assert (missing.op, missing.name) == ("Conv", "Conv_0")
    assert "the size of its input 'x' is open, and no spec tells it" in missing.why
    told = onnx.load(file)
    helper.set_model_props(told, {METADATA_KEY: heatmap_spec((4, 4)).to_json()})
    onnx.save(told, file)
    cost = onnx_cost(file)
    assert (cost.gmacs, cost.model, cost.keypoints) == (CONV / 1e9, "fake@4x4", 17)


def test_other_inputs_share_the_axes_they_name(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.onnx",
        [node("MatMul", ["x", "other"], ["y"])],
        inputs={"x": ["n", 3, 4], "other": ["n", 4, 5]},
        outputs=["y"],
    )
    assert onnx_cost(file).gmacs == 60 / 1e9


def test_shapes_that_inference_lacks_come_from_a_run(tmp_path: Path) -> None:
    """An operator of onnxruntime's own, of which ONNX knows nothing."""
    file = write(
        tmp_path / "a.onnx",
        [
            node("QuickGelu", ["x"], ["a"], domain="com.microsoft"),
            node("FusedMatMul", ["a", "w"], ["b"], domain="com.microsoft", transB=1),
            node("MatMul", ["b", "v"], ["y"]),
        ],
        {"w": weight(5, 4), "v": weight(5, 6)},
        inputs={"x": ["n", 3, 4]},
        outputs=["y"],
    )
    cost = onnx_cost(file)
    assert [layer.macs for layer in cost.layers] == [60, 90]
    assert cost.uncounted == ()
    assert cost.activation_peak_bytes == 3 * (5 + 6) * 4


def test_a_size_that_depends_on_the_picture_is_not_guessed(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.onnx",
        [
            node("NonZero", ["x"], ["where"]),  # (2, as many as there are)
            node("Cast", ["where"], ["a"], to=TensorProto.FLOAT),
            node("Transpose", ["a"], ["b"], perm=[1, 0]),
            node("MatMul", ["b", "w"], ["y"]),
        ],
        {"w": weight(2, 6)},
        inputs={"x": ["n", 4]},
        outputs=["y"],
    )
    cost = onnx_cost(file)
    [missing] = cost.uncounted
    assert missing.op == "MatMul"
    assert "unknown" in missing.why
    assert (cost.gmacs, cost.activation_peak_bytes) == (0, None)
    assert "unknown: the size of a tensor is open" in cost.peak_means


def test_a_foreign_operator_is_named_and_the_rest_counted(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.onnx",
        [
            conv("x", "a"),
            node("Mystery", ["a"], ["b"], domain="acme", name="head(Head)/Mystery_1"),
            conv("b", "y"),
        ],
        {"w": weight(3, 3, 3, 3)},
        inputs={"x": ["n", 3, 4, 4]},
        outputs=["y"],
        domains=["acme"],
    )
    cost = onnx_cost(file)
    assert [u.name for u in cost.uncounted] == ["Mystery_1", "Conv_2"]
    assert cost.uncounted[0].module == "head (Head)"
    assert "onnxruntime cannot run the graph to see" in cost.uncounted[1].why
    assert cost.gmacs == CONV / 1e9
    assert cost.activation_peak_bytes is None


def test_branches_and_loops_are_named(tmp_path: Path) -> None:
    body = helper.make_graph(
        [node("MatMul", ["x", "w"], ["inner"])],
        "branch",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )
    file = write(
        tmp_path / "a.onnx",
        [
            node("ReduceSum", ["x"], ["sum"], keepdims=0),
            node("Cast", ["sum"], ["sure"], to=TensorProto.BOOL),
            node("If", ["sure"], ["a"], then_branch=body, else_branch=body, name="gate"),
            node("MatMul", ["a", "w"], ["y"]),
        ],
        {"w": weight(4, 4)},
        inputs={"x": ["n", 4]},
        outputs=["y"],
    )
    cost = onnx_cost(file)
    assert [u.name for u in cost.uncounted] == ["gate"]
    assert "the MatMul inside it" in cost.uncounted[0].why
    assert cost.gmacs == 16 / 1e9
    assert cost.activation_peak_bytes is None
    assert "branches or loops" in cost.peak_means


def test_local_functions_are_looked_into(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.onnx",
        [node("Block", ["x", "w"], ["y"], domain="mine")],
        {"w": weight(4, 5)},
        inputs={"x": ["n", 4]},
        outputs=["y"],
        domains=["mine"],
    )
    model = onnx.load(file)
    model.functions.append(
        helper.make_function(
            "mine",
            "Block",
            ["a", "b"],
            ["c"],
            [node("MatMul", ["a", "b"], ["d"]), node("Relu", ["d"], ["c"])],
            [helper.make_opsetid("", 18)],
        )
    )
    onnx.save(model, file)
    assert onnx_cost(file).gmacs == 20 / 1e9


def test_weights_in_other_files_are_counted_unread(tmp_path: Path) -> None:
    """6.4 GB that are not even there; and a shape that is, which inference needs."""
    big = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[40_000, 40_000])
    shape = numpy_helper.from_array(np.array([-1, 40_000]), "shape")
    file = tmp_path / "a.onnx"
    (tmp_path / "small.data").write_bytes(shape.raw_data)
    write(
        file,
        [node("Reshape", ["x", "shape"], ["a"]), node("MatMul", ["a", "w"], ["y"])],
        inputs={"x": ["n", 200, 200]},
        outputs=["y"],
    )
    model = onnx.load(file)
    for tensor, location in ((big, "big.data"), (shape, "small.data")):
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
        model.graph.initializer.append(tensor)
    onnx.save_model(model, file)
    cost = onnx_cost(file)
    assert (cost.gmacs, cost.params) == (1.6, 1_600_000_000)
    (tmp_path / "small.data").unlink()
    with pytest.raises(GraphError, match=r"lacks its data.*'shape' lies in small\.data"):
        onnx_cost(file)


def test_no_file_and_no_onnx(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="no file"):
        onnx_cost(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"<html>")
    with pytest.raises(GraphError, match="no ONNX file"):
        onnx_cost(tmp_path / "bad.onnx")


def quantised(*, stored: bool) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """A convolution and a ReLU in eight bits; then the same again, unless ``stored`` is false."""
    weights = {
        "s": np.float32(0.1),
        "z": np.int8(0),
        "w8": weight(3, 3, 3, 3, dtype=np.int8),
        "ws": weight(3),
        "wz": weight(3, dtype=np.int8),
        "b8": weight(3, dtype=np.int32),
        "bs": weight(3),
    }
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        node("DequantizeLinear", ["w8", "ws", "wz"], ["w"], axis=0),
        node("DequantizeLinear", ["b8", "bs"], ["b"], axis=0),
        node("Conv", ["d", "w", "b"], ["a"], pads=[1] * 4),
        node("Relu", ["a"], ["r" if stored else "y"]),
    ]
    if stored:
        nodes += [
            node("QuantizeLinear", ["r", "s", "z"], ["q2"]),
            node("DequantizeLinear", ["q2", "s", "z"], ["d2"]),
            node("Conv", ["d2", "w"], ["y"], pads=[1] * 4),
        ]
    return nodes, weights


def test_pairs_are_transparent_and_their_weights_are_numbers(tmp_path: Path) -> None:
    nodes, weights = quantised(stored=True)
    file = write(tmp_path / "a.onnx", nodes, weights, inputs={"x": ["n", 3, 4, 4]}, outputs=["y"])
    cost = onnx_cost(file)
    # Scales and zero-points are no parameters; weights that two read count once.
    assert [(la.op, la.macs, la.params) for la in cost.layers] == [
        ("Conv", CONV, 84),
        ("Conv", CONV, 0),
    ]
    # 48 numbers in FP32 and 48 in eight bits: the input and its Q, or the last Q and the output.
    assert cost.activation_peak_bytes == 48 * 4 + 48


def test_a_result_that_nobody_stores_in_eight_bits_is_held_in_four_bytes(tmp_path: Path) -> None:
    nodes, weights = quantised(stored=False)
    nodes = [*nodes[:-1], conv("a", "y", "w")]  # read in FP32 this time
    file = write(tmp_path / "a.onnx", nodes, weights, inputs={"x": ["n", 3, 4, 4]}, outputs=["y"])
    assert onnx_cost(file).activation_peak_bytes == 2 * 48 * 4


def test_half_precision_halves_the_activations_alone(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.onnx",
        [conv("x", "y")],
        {"w": weight(3, 3, 3, 3, dtype=np.float16)},
        inputs={"x": ["n", 3, 4, 4]},
        outputs=["y"],
        kind=TensorProto.FLOAT16,
    )
    cost = onnx_cost(file)
    assert (cost.gmacs, cost.params) == (CONV / 1e9, 81)
    assert cost.activation_peak_bytes == 2 * 48 * 2


def test_parameters_are_what_the_graph_computes_with(tmp_path: Path) -> None:
    """Not sizes, bounds, single constants and statistics."""
    file = write(
        tmp_path / "a.onnx",
        [
            node("BatchNormalization", ["x", "gain", "shift", "mean", "var"], ["a"]),
            node("Mul", ["a", "half"], ["b"]),
            node("Add", ["b", "table"], ["c"]),
            node("Clip", ["c", "low", "high"], ["d"]),
            node("Resize", ["d", "", "scales"], ["e"], mode="nearest"),
            node("PRelu", ["e", "slope"], ["f"]),
            node("Reshape", ["f", "shape"], ["g"]),
            node("Transpose", ["table"], ["turned"], perm=[0, 1, 3, 2]),
            node("Pad", ["g", "pads", "zero"], ["y"]),
        ],
        {
            "gain": weight(3),
            "shift": weight(3),
            "mean": weight(3),
            "var": weight(3),
            "half": np.float32(0.5),
            "table": weight(1, 3, 4, 4),
            "low": np.float32(0),
            "high": np.float32(6),
            "scales": np.array([1, 1, 2, 2], np.float32),
            "slope": weight(1, 1, 1),
            "shape": np.array([1, -1]),
            "pads": np.array([0, 1, 0, 1]),
            "zero": np.float32(0),
        },
        inputs={"x": ["n", 3, 4, 4]},
        outputs=["y"],
    )
    cost = onnx_cost(file)
    assert {layer.op: layer.params for layer in cost.layers} == {
        "BatchNormalization": 6,
        "Add": 48,
        "PRelu": 1,
    }
    assert cost.gmacs == 0


def test_a_product_of_activations_belongs_to_the_module_around_them(tmp_path: Path) -> None:
    """As in attention that another exporter wrote."""
    file = write(
        tmp_path / "a.onnx",
        [
            node("MatMul", ["x", "module.blocks.0.attn.q.weight"], ["q"]),
            node("MatMul", ["x", "module.blocks.0.attn.k.weight"], ["k"]),
            node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
            node("MatMul", ["q", "kt"], ["scores"]),
            node("Mul", ["scores", "val_7"], ["scaled"]),
            node("Add", ["scaled", "module.position"], ["located"]),
            node("MatMul", ["located", "val_9"], ["y"]),
        ],
        {
            "module.blocks.0.attn.q.weight": weight(4, 8),
            "module.blocks.0.attn.k.weight": weight(4, 8),
            "val_7": np.float32(0.3),
            "module.position": weight(1, 3, 3),
            "val_9": weight(3, 2),
        },
        inputs={"x": ["n", 3, 4]},
        outputs=["y"],
    )
    assert [(layer.op, layer.module) for layer in onnx_cost(file).layers] == [
        ("MatMul", "blocks.0.attn.q"),
        ("MatMul", "blocks.0.attn.k"),
        ("MatMul", "blocks.0.attn"),
        ("Add", "the model itself"),
        ("MatMul", None),
    ]
