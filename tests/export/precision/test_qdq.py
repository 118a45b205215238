from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgepose.export.precision.plan import make_plan
from edgepose.export.precision.qdq import Encoding, quantise_weight, with_pairs
from edgepose.export.precision.session import read_weight
from tests.export.precision.graphs import conv, graph, images, node, random_weight, run

PAD = {"pads": [1, 1, 1, 1]}


def block() -> onnx.ModelProto:
    """Two convolutions that read one activation, the second of which gets it added."""
    weights = {
        "stem": random_weight(8, 3, 3, 3),
        "w": random_weight(8, 8, 3, 3, seed=1),
        "bias": random_weight(1, 8, seed=2)[0],
    }
    return graph(
        [
            conv("images", "s", "stem", name="stem(Conv2d)/Conv_0", **PAD),
            node("Relu", "s", "a", name="stem(ReLU)/Relu_1"),
            node("Conv", "a w bias", "b", name="block.one(Conv2d)/Conv_2", **PAD),
            node("Conv", "a w bias", "c", name="block.two(Conv2d)/Conv_3", **PAD),
            node("Mul", "b c", "d", name="block(Block)/Mul_4"),
            node("Add", "d a", "e", name="block(Block)/Add_5"),
            conv("e", "y", "w", name="head(Conv2d)/Conv_6", **PAD),
        ],
        weights,
    )


SIGNED = {
    "images": Encoding(3 / 127, np.int8(0)),
    "a": Encoding(4 / 127, np.int8(0)),
}


@pytest.mark.parametrize("axis", [0, 1])
def test_weights_are_symmetric_per_channel(axis: int) -> None:
    weight = random_weight(6, 5, 3, 3) * np.arange(1, 7)[:, None, None, None]
    weight = weight.astype(np.float32)
    numbers, scales = quantise_weight(weight, axis)
    shape = [-1 if a == axis else 1 for a in range(4)]
    others = tuple(a for a in range(4) if a != axis)
    assert scales.shape == (weight.shape[axis],)
    assert np.abs(numbers).max(others).tolist() == [127] * weight.shape[axis]
    assert numbers.min() == -127 or numbers.max() == 127
    error = np.abs(numbers * scales.reshape(shape) - weight)
    assert (error <= scales.reshape(shape) / 2 + 1e-7).all()


def test_a_dead_channel_has_a_scale_that_fp16_can_hold() -> None:
    weight = random_weight(2, 3, 1, 1)
    weight[1] = 1e-12
    numbers, scales = quantise_weight(weight, 0)
    assert np.float16(scales[1]) > 0
    assert not numbers[1].any()


def quantised() -> onnx.ModelProto:
    model = block()
    made = with_pairs(model, make_plan(model).sites, (), SIGNED, ())
    onnx.checker.check_model(made, full_check=True)
    return made


def test_each_reader_has_a_dq_of_its_own_behind_one_q() -> None:
    made = quantised()
    stores = [n for n in made.graph.node if n.op_type == "QuantizeLinear"]
    assert [n.input[0] for n in stores] == ["images", "a"]
    readers: dict[str, list[str]] = {}
    for each in made.graph.node:
        for name in each.input:
            readers.setdefault(name, []).append(each.name)
    reads = [n for n in made.graph.node if n.op_type == "DequantizeLinear"]
    assert len(reads) == 6  # three activations, three weights
    assert all(len(readers[n.output[0]]) == 1 for n in reads)
    # The addition and the head go on in float.
    assert "block(Block)/Add_5" in readers["a"]
    assert "head(Conv2d)/Conv_6" in readers["e"]
    assert len({n.name for n in made.graph.node}) == len(made.graph.node)


def test_numbers_are_shared_and_float_weights_dropped_where_nobody_reads_them() -> None:
    made = quantised()
    names = {w.name for w in made.graph.initializer}
    assert {"w_axis0_int8", "stem_axis0_int8", "w", "bias"} <= names  # the head reads w
    assert "stem" not in names
    assert all(
        w.data_type == onnx.TensorProto.INT8
        for w in made.graph.initializer
        if w.name.endswith(("_int8", "_zero"))
    )


def test_biases_stay_float_and_zero_points_zero() -> None:
    made = quantised()
    weights = {w.name: w for w in made.graph.initializer}
    for each in made.graph.node:
        if each.op_type == "Conv" and len(each.input) == 3:
            assert weights[each.input[2]].data_type == onnx.TensorProto.FLOAT
        if each.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert not read_weight(weights[each.input[2]]).any()


def test_the_numbers_are_what_rounding_by_hand_gives() -> None:
    model, made = block(), quantised()
    weights = {w.name: read_weight(w) for w in model.graph.initializer}

    def rounded(values: np.ndarray, scale: float) -> np.ndarray:
        return (np.clip(np.rint(values / np.float32(scale)), -128, 127) * scale).astype(np.float32)

    def coarse(name: str) -> np.ndarray:
        numbers, scales = quantise_weight(weights[name], 0)
        return numbers * scales[:, None, None, None]

    x = images(2)
    by_hand = graph(
        [
            conv("images", "s", "stem", **PAD),
            node("Relu", "s", "a"),
        ],
        {"stem": coarse("stem")},
        output="a",
    )
    a = run(by_hand, rounded(x, 3 / 127))
    rest = graph(
        [
            node("Conv", "images w bias", "b", **PAD),
            node("Mul", "b b", "d"),
        ],
        {"w": coarse("w"), "bias": weights["bias"]},
        output="d",
        shape=("batch", 8, 8, 8),
    )
    d = run(rest, rounded(a, 4 / 127))
    tail = graph([conv("images", "y", "w", **PAD)], {"w": weights["w"]}, shape=("batch", 8, 8, 8))
    assert run(made, x) == pytest.approx(run(tail, d + a), abs=2e-3)


def test_what_is_stored_is_read_back_by_everybody() -> None:
    model = block()
    encodings = SIGNED | {"a": Encoding(4 / 255, np.uint8(0)), "b": Encoding(0.1, np.uint8(128))}
    made = with_pairs(model, make_plan(model).sites, (), encodings, {"a", "b"})
    onnx.checker.check_model(made, full_check=True)
    for name in ("a", "b"):
        assert [n.op_type for n in made.graph.node if name in n.input] == ["QuantizeLinear"]


def test_metadata_and_names_survive() -> None:
    model = block()
    onnx.helper.set_model_props(model, {"edgepose.spec": "{}"})
    model.producer_name = "somebody"
    made = with_pairs(model, make_plan(model).sites, (), SIGNED, ())
    assert [p.key for p in made.metadata_props] == ["edgepose.spec"]
    assert (made.producer_name, made.ir_version) == ("somebody", model.ir_version)
    modules = {n.name.rpartition("/")[0] for n in made.graph.node if "Linear" in n.op_type}
    assert modules == {"stem(Conv2d)", "block.one(Conv2d)", "block.two(Conv2d)"}
    assert all(n.name for n in made.graph.node)
    # The graph it was made from is as it was.
    assert not [n for n in model.graph.node if "Linear" in n.op_type]
