from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgepose.errors import GraphError
from edgepose.export.precision.plan import make_plan
from tests.export.precision.graphs import conv, graph, node, random_weight, run

W = random_weight(8, 8, 3, 3)
STEM = random_weight(8, 3, 3, 3)
PAD = {"pads": [1, 1, 1, 1]}


def names(model: onnx.ModelProto) -> list[str]:
    return [site.name for site in make_plan(model).sites]


def residual(order: str = "a b") -> onnx.ModelProto:
    """stem, relu, then a residual block of two convolutions, then a head."""
    return graph(
        [
            conv("images", "s", "stem", **PAD),
            node("Relu", "s", "a"),
            conv("a", "c", "w1", **PAD),
            node("Relu", "c", "d"),
            conv("d", "b", "w2", **PAD),
            node("Add", order, "sum"),
            node("Relu", "sum", "e"),
            conv("e", "f", "w3", **PAD),
            conv("f", "y", "head", **PAD),
        ],
        {"stem": STEM, "w1": W, "w2": W, "w3": W, "head": W},
    )


def test_weighted_operations_but_the_last() -> None:
    plan = make_plan(residual())
    assert [s.data for s in plan.sites] == ["images", "a", "d", "e"]
    assert [s.result for s in plan.sites] == ["a", "d", "b", "f"]
    (head,) = plan.left
    assert head.node == "layer(Conv)/y"
    assert head.module == "layer"
    assert head.why == "the last weighted operation in front of an output"


@pytest.mark.parametrize(("order", "index"), [("a b", 0), ("b a", 1)])
def test_the_skip_is_what_the_convolution_does_not_compute(order: str, index: int) -> None:
    (skip,) = make_plan(residual(order)).skips
    assert (skip.index, skip.data, skip.trunk) == (index, "a", "layer(Conv)/b")
    assert skip.sums == {"sum", "e"}


def test_of_two_convolutions_the_longer_way_adds() -> None:
    model = graph(
        [
            conv("images", "short", "stem", **PAD),
            conv("images", "p", "stem", **PAD),
            conv("p", "long", "w", **PAD),
            node("Add", "short long", "sum"),
            conv("sum", "y", "w", name="head(Conv2d)/Conv_9", **PAD),
        ],
        {"stem": STEM, "w": W},
    )
    (skip,) = make_plan(model).skips
    assert skip.data == "short"


@pytest.mark.parametrize(
    "addition",
    [
        node("Add", "b offset", "sum"),  # a bias
        node("Add", "b small", "sum"),  # another shape
        node("Add", "a a", "sum"),  # no convolution in front of it
    ],
)
def test_other_additions_are_none(addition: onnx.NodeProto) -> None:
    model = graph(
        [
            node("Relu", "images", "a"),
            node("ReduceMean", "a axes", "small"),
            conv("a", "b", "w", **PAD),
            addition,
            node("Relu", "sum", "e"),
            conv("e", "y", "w", name="head", **PAD),
        ],
        {
            "w": random_weight(3, 3, 3, 3),
            "offset": np.ones((3, 1, 1), np.float32),
            "axes": np.array([2, 3], np.int64),
        },
    )
    assert make_plan(model).skips == ()


def test_attention_and_what_is_no_weight_are_left_alone() -> None:
    model = graph(
        [
            node("MatMul", "images q", "query"),
            node("MatMul", "query query", "scores"),
            node("Softmax", "scores", "p"),
            node("MatMul", "p query", "mixed"),
            node("LayerNormalization", "mixed scale", "n"),
            node("MatMul", "several n", "left"),
            node("MatMul", "left several", "s"),
            node("MatMul", "s q", "y"),
        ],
        {
            "q": random_weight(8, 8),
            "scale": np.ones(8, np.float32),
            "several": random_weight(3, 8, 8),
        },
    )
    plan = make_plan(model)
    assert [s.name for s in plan.sites] == ["layer(MatMul)/query"]
    assert {k.node: k.why for k in plan.left} == {
        "layer(MatMul)/s": "its weights are several matrices",
        "layer(MatMul)/y": "the last weighted operation in front of an output",
    }


def test_every_output_has_a_head() -> None:
    """Through what computes nothing with weights: reshapes, softmax, an addition of two heads."""
    model = graph(
        [
            conv("images", "a", "w", **PAD),
            conv("a", "b", "w", **PAD),
            conv("a", "c", "w", **PAD),
            node("Add", "b c", "bc"),
            node("Sigmoid", "bc", "y"),
            conv("a", "d", "w", **PAD),
            node("Flatten", "d", "z"),
        ],
        {"w": random_weight(3, 3, 3, 3)},
        output="y z",
    )
    assert names(model) == ["layer(Conv)/a"]


def test_a_decoder_in_the_graph_is_not_the_model() -> None:
    """Its blur is a product with constants, behind the head and beside the largest value."""
    model = graph(
        [
            conv("images", "a", "w", **PAD),
            conv("a", "maps", "w", name="head", **PAD),
            node("MatMul", "maps blur", "smooth"),
            node("Reshape", "maps shape", "flat"),
            node("ArgMax", "flat", "peak", axis=-1),
            node("Reshape", "smooth shape", "values"),
            node("GatherElements", "values peak", "y", axis=2),
        ],
        {
            "w": random_weight(3, 3, 3, 3),
            "blur": random_weight(8, 8),
            "shape": np.array([0, 0, -1], np.int64),
        },
    )
    plan = make_plan(model)
    assert [s.name for s in plan.sites] == ["layer(Conv)/a"]
    assert {k.node: k.why for k in plan.left} == {
        "head": "the last weighted operation in front of an output",
        "layer(MatMul)/smooth": "a part of the decoder",
    }


KINDS = {
    "conv": (node("Conv", "x w", "y"), random_weight(6, 4, 3, 3), (1, 4, 5, 5)),
    "grouped": (node("Conv", "x w", "y", group=2), random_weight(6, 2, 3, 3), (1, 4, 5, 5)),
    "depthwise": (node("Conv", "x w", "y", group=4), random_weight(4, 1, 3, 3), (1, 4, 5, 5)),
    "transpose": (
        node("ConvTranspose", "x w", "y", group=2),
        random_weight(4, 3, 3, 3),
        (1, 4, 5, 5),
    ),
    "matmul": (node("MatMul", "x w", "y"), random_weight(4, 7), (1, 5, 4)),
    "gemm": (node("Gemm", "x w", "y"), random_weight(4, 7), (5, 4)),
    "gemm, turned": (node("Gemm", "x w", "y", transB=1), random_weight(7, 4), (5, 4)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_channels_meet_their_weights(kind: str) -> None:
    """Importance and scaling, told from what the operation computes."""
    operation, weight, shape = KINDS[kind]
    nodes = [node("Relu", "images", "x"), operation, node("MatMul", "y head", "z")]
    rows = 7 if len(shape) < 4 else computed(operation, weight, np.ones(shape)).shape[-1]
    model = graph(nodes, {"w": weight, "head": random_weight(rows, 2)}, output="z", shape=shape)
    (site,) = make_plan(model).sites
    axis = site.channels
    factors = np.array([1, 2, 4, 8], np.float32)
    along = factors.reshape([-1 if a == axis % len(shape) else 1 for a in range(len(shape))])
    x = np.random.default_rng(1).random(shape, np.float32)
    scaled = site.scaled(weight, factors)
    assert np.allclose(
        computed(operation, scaled, x / along), computed(operation, weight, x), atol=1e-5
    )
    # A channel that is silenced in the weights has no importance, and no other loses any.
    full = site.importance(weight)
    for channel in range(4):
        mute = np.where(np.arange(4) == channel, 0, 1).astype(np.float32)
        part = site.importance(site.scaled(weight, mute))
        assert part == pytest.approx(np.where(mute, full, 0))
    assert full.sum() == pytest.approx(float((weight.astype(np.float64) ** 2).sum()))


def computed(operation: onnx.NodeProto, weight: np.ndarray, x: np.ndarray) -> np.ndarray:
    model = graph([node("Relu", "images", "x"), operation], {"w": weight}, shape=x.shape)
    return run(model, x.astype(np.float32))


def test_weights_in_fp16_are_refused() -> None:
    half = random_weight(3, 3, 3, 3).astype(np.float16)
    model = graph(
        [
            node("Cast", "images", "x", to=onnx.TensorProto.FLOAT16),
            conv("x", "y", "w", **PAD),
        ],
        {"w": half},
    )
    with pytest.raises(GraphError, match="not FP32"):
        make_plan(model)


def test_what_is_quantised_already_is_refused() -> None:
    model = graph(
        [
            node("QuantizeLinear", "images scale zero", "q"),
            node("DequantizeLinear", "q scale zero", "x"),
            conv("x", "y", "w", **PAD),
        ],
        {"scale": 0.1, "zero": np.array(0, np.int8), "w": random_weight(3, 3, 3, 3)},
    )
    with pytest.raises(GraphError, match="quantised already"):
        make_plan(model)


def test_old_operator_sets_are_refused() -> None:
    model = graph([conv("images", "y", "w", **PAD)], {"w": random_weight(3, 3, 3, 3)}, opset=12)
    with pytest.raises(GraphError, match="operator set 12"):
        make_plan(model)
