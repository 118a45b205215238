from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from edgepose.errors import GraphError
from edgepose.export.precision.bisect import Divergence, first_divergence
from edgepose.export.precision.fp16 import to_fp16
from edgepose.export.precision.ranges import tensor_ranges
from tests.export.precision.graphs import conv, graph, images, node, random_weight

LAYERS = 8
CHANNELS = 16
PEOPLE = images(4, (CHANNELS, 8, 8))


def network(*, softmax: bool = False) -> onnx.ModelProto:
    """Eight layers of a convolution and a ReLU each, ``t0`` to ``t7``."""
    nodes, source = [], "images"
    for i in range(LAYERS):
        nodes.append(conv(source, f"c{i}", f"w{i}", f"stage.{i}.conv(Conv2d)/Conv_{i}"))
        nodes.append(node("Relu", f"c{i}", f"t{i}", f"stage.{i}(Stage)/Relu_{i}"))
        source = f"t{i}"
    if softmax:  # steep: its logits are large; and what it weighs is added to much more
        nodes += [
            node("Mul", f"{source} steep", "logits", "head(Attention)/Mul_1"),
            node("Softmax", "logits", "share", "head(Attention)/Softmax_1", axis=1),
            node("Mul", "share little", "small", "head(Attention)/Mul_2"),
            node("Add", f"{source} small", "sum", "head(Attention)/Add_1"),
        ]
        source = "sum"
    nodes.append(conv(source, "y", "w", "head(Conv2d)/Conv_99"))
    weights = {
        f"w{i}": random_weight(CHANNELS, CHANNELS, 1, 1, seed=i, scale=1.4) for i in range(LAYERS)
    }
    return graph(
        nodes,
        {
            "w": random_weight(3, CHANNELS, 1, 1, seed=99),
            **weights,
            **({"steep": 300, "little": 1e-2} if softmax else {}),
        },
        shape=("batch", CHANNELS, 8, 8),
        opset=19,
    )


def fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    return to_fp16(model, tensor_ranges(model, [PEOPLE])).model


def change(model: onnx.ModelProto, weight: str, factor: float) -> onnx.ModelProto:
    """The graph with a weight times so much."""
    other = onnx.ModelProto()
    other.CopyFrom(model)
    for stored in other.graph.initializer:
        if stored.name == weight:
            values = numpy_helper.to_array(stored)
            changed = (values * np.asarray(factor, values.dtype)).astype(values.dtype)
            stored.CopyFrom(numpy_helper.from_array(changed, weight))
            return other
    raise AssertionError(weight)


def quantised(model: onnx.ModelProto) -> onnx.ModelProto:
    """Every ReLU's result through eight bits, its name kept, as quantisers do it."""
    ranges = tensor_ranges(model, [PEOPLE])
    other = onnx.ModelProto()
    other.CopyFrom(model)
    graph = other.graph
    del graph.node[:], graph.value_info[:]
    graph.initializer.append(numpy_helper.from_array(np.zeros((), np.int8), "zero"))
    for before in model.graph.node:
        copy = graph.node.add()
        copy.CopyFrom(before)
        copy.input[:] = [f"{n}_dq" if n.startswith("t") else n for n in before.input]
        if before.op_type == "Relu":
            name = before.output[0]
            scale = np.float32(ranges[name].reach / 127)
            graph.initializer.append(numpy_helper.from_array(np.array(scale), f"{name}_s"))
            graph.node.append(node("QuantizeLinear", f"{name} {name}_s zero", f"{name}_q"))
            graph.node.append(node("DequantizeLinear", f"{name}_q {name}_s zero", f"{name}_dq"))
    onnx.checker.check_model(other, full_check=True)
    return other


def found(reference: onnx.ModelProto, converted: onnx.ModelProto) -> Divergence:
    divergence = first_divergence(reference, converted, PEOPLE)
    assert divergence is not None
    return divergence


def test_a_graph_does_not_leave_itself() -> None:
    assert first_divergence(network(), network(), PEOPLE) is None


@pytest.mark.parametrize("convert", [fp16, quantised, lambda m: fp16(quantised(m))])
def test_usual_rounding_leaves_nowhere(convert) -> None:  # type: ignore[no-untyped-def]
    model = network()
    assert first_divergence(model, convert(model), PEOPLE) is None


@pytest.mark.parametrize("layer", [0, 3, 7])
@pytest.mark.parametrize("convert", [fp16, quantised], ids=["fp16", "int8"])
def test_a_wrong_weight_is_named(convert, layer: int) -> None:  # type: ignore[no-untyped-def]
    model = network()
    divergence = found(model, change(convert(model), f"w{layer}", 1.3))
    assert divergence.tensor == f"c{layer}"
    assert divergence.node == f"stage.{layer}.conv(Conv2d)/Conv_{layer}"
    assert divergence.op == "Conv"
    assert divergence.module == f"stage.{layer}.conv (Conv2d)"
    assert divergence.error == pytest.approx(0.3, abs=0.05)
    assert divergence.before < divergence.error / 5
    assert divergence.share is not None and divergence.share > 0.8
    assert f"'c{layer}', Conv node" in str(divergence)


@pytest.mark.parametrize("convert", [quantised, lambda m: fp16(quantised(m))])
def test_a_wrong_scale_is_named_by_the_tensor_that_it_is_for(convert) -> None:  # type: ignore[no-untyped-def]
    """The tensor itself is right; what its readers get of it is cut off."""
    model = network()
    divergence = found(model, change(convert(model), "t4_s", 0.1))
    assert divergence.tensor == "t4"
    assert divergence.error > 0.3


def test_a_scale_that_is_too_coarse_is_no_rounding_either() -> None:
    model = network()
    assert found(model, change(quantised(model), "t4_s", 20)).tensor == "t4"


def test_the_first_of_two_faults_that_matter() -> None:
    model = network()
    assert found(model, change(change(fp16(model), "w6", 1.2), "w2", 1.2)).tensor == "c2"


def test_a_jump_that_is_forgotten_is_not_named() -> None:
    """Softmax makes much of little, and little of the result depends on it."""
    model = network(softmax=True)
    half = fp16(model)
    assert first_divergence(model, half, PEOPLE) is None
    assert found(model, change(half, "w1", 1.3)).tensor == "c1"


def test_overflow_is_named_where_it_begins() -> None:
    model = change(change(network(), "w2", 1e5), "w4", 1e-5)
    careless = onnx.ModelProto()
    careless.CopyFrom(model)
    ranges = {name: type(r)(-1, 1) for name, r in tensor_ranges(model, [PEOPLE]).items()}
    with np.errstate(invalid="ignore"):
        divergence = found(model, to_fp16(careless, ranges).model)
    assert divergence.tensor in {"c2", "t2"}
    assert divergence.share is None
    assert "overflows" in str(divergence)
    json.dumps(divergence.to_dict(), allow_nan=False)


def test_a_choice_that_rounding_tips_is_named_by_what_it_chooses() -> None:
    """Comparisons have no error of their own: only the values that they choose have."""
    model = graph(
        [
            conv("images", "c", "w", "stem(Conv2d)/Conv_0"),
            node("Mul", "c close", "d", "stem(Scale)/Mul_0"),
            node("GreaterOrEqual", "c d", "mask", "pool(Pool)/GreaterOrEqual_1"),
            node("Where", "mask c nought", "chosen", "unpool(Unpool)/Where_2"),
            conv("chosen", "y", "v", "head(Conv2d)/Conv_3"),
        ],
        {
            "w": random_weight(CHANNELS, CHANNELS, 1, 1),
            "v": random_weight(3, CHANNELS, 1, 1, seed=1),
            "close": 1 + 1e-3 * random_weight(CHANNELS, 1, 1, seed=2, scale=1.0),
            "nought": 0.0,
        },
        shape=("batch", CHANNELS, 8, 8),
    )
    other = change(model, "close", 1.0007)
    assert found(model, other).tensor == "chosen"


def test_blocks_around_in_the_order_of_the_graph() -> None:
    model = network()
    divergence = found(model, change(fp16(model), "w4", 1.3))
    assert [block.module for block in divergence.around] == [
        "stage.2",
        "stage.3.conv",
        "stage.3",
        "stage.4.conv",
        "stage.4",
        "stage.5.conv",
        "stage.5",
    ]
    before = [block.error for block in divergence.around[:3]]
    behind = [block.error for block in divergence.around[3:]]
    assert max(before) < 0.01 < 0.2 < min(behind)
    told = divergence.to_dict()
    assert json.loads(json.dumps(told))["around"][3]["module"] == "stage.4.conv"


def test_graphs_of_other_exporters_have_no_modules() -> None:
    model = network()
    for i, plain in enumerate(model.graph.node):
        plain.name = f"node_{i}"
    divergence = found(model, change(fp16(model), "w3", 1.3))
    assert (divergence.node, divergence.module) == ("node_6", "")
    assert divergence.around[3].module == "node_6"


def test_bytes_as_input() -> None:
    model = graph(
        [
            node("Cast", "images", "floats", to=TensorProto.FLOAT),
            conv("floats", "a", "w"),
            conv("a", "y", "v"),
        ],
        {"w": random_weight(3, 3, 1, 1), "v": random_weight(3, 3, 1, 1, seed=1)},
        kind=TensorProto.UINT8,
    )
    values = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8)).astype(np.uint8)
    divergence = first_divergence(model, change(model, "v", 1.5), values)
    assert divergence is not None and divergence.tensor == "y"


def test_two_graphs_that_have_nothing_in_common() -> None:
    other = graph(
        [conv("images", "z")],
        {"w": random_weight(3, 16, 1, 1)},
        output="z",
        shape=("batch", 16, 8, 8),
    )
    with pytest.raises(GraphError, match="no output in common: one gives y, the other z"):
        first_divergence(network(), other, PEOPLE)
