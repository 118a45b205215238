from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from edgepose.errors import GraphError, InputError
from edgepose.export.precision.int8 import Ranges, calibrate, to_int8
from edgepose.export.precision.session import read_weight
from tests.export.precision.graphs import conv, graph, images, node, random_weight, run

PAD = {"pads": [1, 1, 1, 1]}
FORMS = ("tensorrt", "onnxruntime")


def block(spread: float = 1.0) -> onnx.ModelProto:
    """stem, ReLU, a residual block, a sigmoid gate, a head.

    Args:
        spread: How much larger one channel behind the stem is than the others.
    """
    stem = random_weight(8, 3, 3, 3)
    stem[0] *= spread
    body = random_weight(8, 8, 3, 3, seed=1)
    body[:, 0] /= spread
    return graph(
        [
            conv("images", "s", "stem", name="stem(Conv2d)/Conv_0", **PAD),
            node("Relu", "s", "a", name="stem(ReLU)/Relu_1"),
            node("Conv", "a w bias", "b", name="block.one(Conv2d)/Conv_2", **PAD),
            node("Relu", "b", "c", name="block(ReLU)/Relu_3"),
            conv("c", "d", "v", name="block.two(Conv2d)/Conv_4", **PAD),
            node("Add", "a d", "e", name="block(Block)/Add_5"),
            conv("e", "f", "v", name="gate.conv(Conv2d)/Conv_6", **PAD),
            node("Sigmoid", "f", "g", name="gate(Gate)/Sigmoid_7"),
            node("Mul", "e g", "h", name="gate(Gate)/Mul_8"),
            conv("h", "y", "head", name="head(Conv2d)/Conv_9"),
        ],
        {
            "stem": stem,
            "w": body,
            "v": random_weight(8, 8, 3, 3, seed=2),
            "bias": random_weight(1, 8, seed=3)[0],
            "head": random_weight(2, 8, 1, 1),
        },
    )


PEOPLE = [images(2, seed=n) for n in range(6)]
ALL = (
    "stem(Conv2d)/Conv_0",
    "block.one(Conv2d)/Conv_2",
    "block.two(Conv2d)/Conv_4",
    "gate.conv(Conv2d)/Conv_6",
)


def error(model: onnx.ModelProto, quantised: onnx.ModelProto) -> float:
    """Largest difference of the outputs as a share of their range, on people not seen before."""
    x = images(4, seed=99)
    reference = run(model, x)
    return float(np.abs(run(quantised, x) - reference).max() / np.abs(reference).max())


def readers(model: onnx.ModelProto, op: str) -> list[str]:
    """What reads in INT8: operators of the nodes behind a DQ that stands on an activation."""
    values = {
        n.output[0]
        for n in model.graph.node
        if n.op_type == "DequantizeLinear" and "axis" not in n.input[0]
    }
    return [n.name for n in model.graph.node if values & set(n.input) and n.op_type == op]


def optimised(model: onnx.ModelProto, folder: Path) -> Counter[str]:
    """Operators of the graph that onnxruntime really runs on this CPU."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return Counter(n.op_type for n in onnx.load(folder / "optimised.onnx").graph.node)


@pytest.mark.parametrize("form", FORMS)
def test_a_quantised_graph_computes_nearly_the_same(form) -> None:
    model = block()
    made = to_int8(model, PEOPLE, form=form)
    onnx.checker.check_model(made.model, full_check=True)
    assert made.quantised == ALL
    assert [k.node for k in made.left] == ["head(Conv2d)/Conv_9"]
    assert 0.0005 < error(model, made.model) < 0.05
    # What it was made from is as it was.
    assert model == block()


def test_tensorrt_form() -> None:
    """Signed numbers, no zero-points, pairs in front of weighted operations and one skip only."""
    made = to_int8(block(), PEOPLE).model
    weights = {w.name: w for w in made.graph.initializer}
    pairs = [n for n in made.graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    for pair in pairs:
        zero = weights[pair.input[2]]
        assert zero.data_type == onnx.TensorProto.INT8
        assert not read_weight(zero).any()
    assert readers(made, "Conv") == list(ALL)
    (addition,) = (n for n in made.graph.node if n.op_type == "Add")
    assert addition.input[1] == "d"  # the convolution's own side
    assert addition.input[0] in {n.output[0] for n in pairs}
    for op in ("Sigmoid", "Mul", "Relu"):
        assert readers(made, op) == []


def test_a_skip_whose_sum_nobody_reads_in_int8_stays_float() -> None:
    made = to_int8(block(), PEOPLE, exclude=["gate.conv(Conv2d)/Conv_6"]).model
    assert readers(made, "Add") == []
    made = to_int8(block(), PEOPLE, exclude=["block.two(Conv2d)/Conv_4"]).model
    assert readers(made, "Add") == []


def test_onnxruntime_runs_its_form_in_int8_throughout(tmp_path: Path) -> None:
    """The point of that form: no convolution but the head in float, no ReLU, no float bias."""
    ops = optimised(to_int8(block(), PEOPLE, form="onnxruntime").model, tmp_path)
    assert ops["QLinearConv"] == 4
    assert ops["Conv"] + ops["FusedConv"] == 1
    assert ops["Relu"] == 0


def test_onnxruntime_cannot_do_so_with_tensorrts(tmp_path: Path) -> None:
    """Why there are two forms. If this fails, one may do."""
    ops = optimised(to_int8(block(), PEOPLE).model, tmp_path)
    assert ops["QLinearConv"] < 4


def test_onnxruntime_form_uses_all_steps_where_nothing_is_negative() -> None:
    made = to_int8(block(), PEOPLE, form="onnxruntime").model
    weights = {w.name: read_weight(w) for w in made.graph.initializer}
    zeros = {
        n.input[0]: weights[n.input[2]] for n in made.graph.node if n.op_type == "QuantizeLinear"
    }
    assert {name: int(zero) for name, zero in zeros.items()} == {
        "images": 128,
        "a": 0,
        "c": 0,
        "d": 128,
        "e": 128,
        "f": 128,
    }
    assert all(zero.dtype == np.uint8 for zero in zeros.values())


def test_what_onnxruntime_has_no_kernel_for_stays_float() -> None:
    model = graph(
        [
            conv("images", "a", "w", **PAD),
            node("ConvTranspose", "a w", "b"),
            node("MatMul", "b m", "c"),
            node("MatMul", "c m", "y"),
        ],
        {"w": random_weight(3, 3, 3, 3), "m": random_weight(10, 10)},
    )
    ours = to_int8(model, PEOPLE, form="onnxruntime")
    assert ours.quantised == ("layer(Conv)/a", "layer(MatMul)/c")
    assert {k.node: k.why for k in ours.left}["layer(ConvTranspose)/b"] == (
        "onnxruntime computes no ConvTranspose in INT8"
    )
    assert len(to_int8(model, PEOPLE).quantised) == 3


@pytest.mark.parametrize("form", FORMS)
def test_channels_of_very_different_size_are_balanced(form) -> None:
    model = block(spread=3000)
    made = to_int8(model, PEOPLE, form=form)
    assert [n.name for n in made.model.graph.node if "balance" in n.name] == [
        "block.one(Conv2d)/Mul_balance_Conv_2"
    ]
    # What computes them cannot store them in eight bits, where all results are stored.
    assert made.quantised == (ALL if form == "tensorrt" else ALL[1:])
    plain = to_int8(model, PEOPLE, form=form, ranges=Ranges(max_noise=math.inf))
    assert error(model, made.model) < 0.05
    assert error(model, made.model) < 0.5 * error(model, plain.model)


def test_what_balancing_does_not_help_stays_float() -> None:
    """Values of very different size in one channel."""
    rare = [values.copy() for values in PEOPLE]
    for values in rare:
        values[0, :, 0, 0] = 3000
    made = to_int8(block(), rare)
    assert "stem(Conv2d)/Conv_0" not in made.quantised
    reason = {k.node: k.why for k in made.left}["stem(Conv2d)/Conv_0"]
    assert reason == "eight bits would lose more than 0.2% of what it reads"
    assert not [n for n in made.model.graph.node if "balance" in n.name]


def test_every_setting_takes_effect() -> None:
    """Ranges, read back from the graph: none of them may be ignored."""
    model = block()

    many = [images(16, seed=n) for n in range(8)]
    bright = [np.where(np.abs(x) > 3.5, 20 * x, x) for x in many]  # few values, far out

    def scale(**settings: object) -> float:
        made = to_int8(model, bright, ranges=Ranges(max_noise=math.inf, **settings)).model
        weights = {w.name: w for w in made.graph.initializer}
        return float(read_weight(weights["a_scale"]))

    values = np.concatenate([run(first_layer(), x) for x in bright])
    assert scale(method="minmax") * 127 == pytest.approx(values.max(), rel=1e-4)
    scales = [scale(method="percentile", percentile=p) for p in (90.0, 99.0, 99.9)]
    assert scales == sorted(scales)
    assert scales[0] < 0.8 * scales[2]
    others = [scale(method=m) for m in ("mse", "entropy")]
    assert others[0] != others[1]
    assert others[0] < scale(method="minmax")


def first_layer() -> onnx.ModelProto:
    return graph(
        [conv("images", "s", "stem", **PAD), node("Relu", "s", "a")],
        {"stem": random_weight(8, 3, 3, 3)},
        output="a",
    )


def test_excluded_operations_stay_float() -> None:
    calibrated = calibrate(block(), PEOPLE)
    made = calibrated.build(exclude=[ALL[1]])
    assert made.quantised == (ALL[0], ALL[2], ALL[3])
    assert {k.node: k.why for k in made.left}[ALL[1]] == "asked for"
    assert {k.node: k.module for k in made.left}[ALL[1]] == "block.one"
    nothing = calibrated.build(exclude=ALL)
    assert not [n for n in nothing.model.graph.node if "Linear" in n.op_type]
    x = images(2)
    assert np.array_equal(run(nothing.model, x), run(block(), x))
    with pytest.raises(InputError, match="no operation") as refusal:
        calibrated.build(exclude=["block.one(Conv2d)/Conv_3"])
    assert "block.one(Conv2d)/Conv_2" in str(refusal.value.hint)


def test_people_may_come_as_a_stream() -> None:
    def stream() -> Iterator[np.ndarray]:
        yield from PEOPLE

    for model in (block(), block(spread=3000)):
        assert to_int8(model, stream()).model == to_int8(model, PEOPLE).model


def test_nameless_nodes_get_names() -> None:
    model = block()
    for each in model.graph.node:
        each.name = ""
    made = to_int8(model, PEOPLE)
    assert made.quantised == ("Conv_0", "Conv_2", "Conv_4", "Conv_6")
    assert not any(n.name for n in model.graph.node)


def test_quantised_graphs_and_empty_sets_are_refused() -> None:
    made = to_int8(block(), PEOPLE).model
    with pytest.raises(GraphError, match="quantised already"):
        to_int8(made, PEOPLE)
    with pytest.raises(InputError, match="nothing to calibrate on"):
        to_int8(block(), [])


def test_numbers_that_are_not_finite_are_refused() -> None:
    bad = images(2)
    bad[0, 0, 0, 0] = np.nan
    with pytest.raises(GraphError, match="'images' holds NaN"):
        to_int8(block(), [bad])


@pytest.mark.parametrize(
    ("settings", "match"),
    [({"method": "kl"}, "no calibration method 'kl'"), ({"percentile": 0.9999}, "no range")],
)
def test_settings_that_make_no_sense(settings: dict, match: str) -> None:
    with pytest.raises(InputError, match=match):
        Ranges(**settings)
