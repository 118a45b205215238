from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepose.engine import build_engine
from edgepose.errors import GraphError
from edgepose.export.lint.rtx import installed
from edgepose.export.metadata import read_spec
from edgepose.export.precision.fp16 import Fp16, to_fp16
from edgepose.export.precision.fp16_rules import SMALLEST
from edgepose.export.precision.ranges import Range, float_activations, tensor_ranges
from edgepose.export.precision.rounding import with_rounding
from tests.export.precision.graphs import (
    conv,
    crops,
    graph,
    images,
    node,
    random_weight,
    run,
    types,
)
from tests.fakes import heatmap_spec

PRODUCTS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
SQUARE = random_weight(3, 3, 1, 1)


def unit_ranges(model: onnx.ModelProto, **other: Range) -> dict[str, Range]:
    return {name: other.get(name, Range(-1, 1)) for name in float_activations(model)}


def converted(model: onnx.ModelProto, **ranges: Range) -> Fp16:
    """Converted and held to strict types."""
    done = to_fp16(model, unit_ranges(model, **ranges))
    onnx.checker.check_model(done.model, full_check=True)
    types(done.model)
    return done


def reasons(done: Fp16) -> dict[str, str]:
    """Why, by the first output of the node, which is its short name."""
    return {kept.node.rpartition("/")[2]: kept.why for kept in done.kept}


def casts(model: onnx.ModelProto) -> list[tuple[str, str]]:
    return [(n.input[0], n.output[0]) for n in model.graph.node if n.op_type == "Cast"]


def cast_twice(model: onnx.ModelProto) -> list[str]:
    """Casts of what was just cast, or that moves alone lie between."""
    makers = {name: n for n in model.graph.node for name in n.output}

    def source(name: str) -> str:
        maker = makers.get(name)
        if maker is not None and maker.op_type in {"Reshape", "Transpose", "Concat", "Split"}:
            return source(maker.input[0])
        return "" if maker is None else maker.op_type

    return [
        n.name for n in model.graph.node if n.op_type == "Cast" and source(n.input[0]) == "Cast"
    ]


def sandwich(
    nodes: Sequence[onnx.NodeProto], weights: Mapping[str, Any] | None = None, **more: Any
):  # type: ignore[no-untyped-def]
    """The nodes from ``a`` to ``b``, between two convolutions."""
    return graph(
        [conv("images", "a"), *nodes, conv("b", "y")], {"w": SQUARE, **(weights or {})}, **more
    )


# The graph as a whole


def test_products_are_fp16_and_the_ends_stay_what_they_were() -> None:
    model = graph([conv("images", "a"), node("Relu", "a", "b"), conv("b", "y")], {"w": SQUARE})
    model.metadata_props.add(key="edgepose.spec", value="{}")
    model.producer_name = "edgepose"
    before = model.SerializeToString()
    done = converted(model)
    assert model.SerializeToString() == before
    assert done.kept == ()
    assert done.casts == 2
    found = types(done.model)
    assert [found[n] for n in ("images", "a", "b", "w", "y")] == [
        "FLOAT",
        "FLOAT16",
        "FLOAT16",
        "FLOAT16",
        "FLOAT",
    ]
    assert done.model.graph.input[0] == model.graph.input[0]
    assert done.model.graph.output[0] == model.graph.output[0]
    assert done.model.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert done.model.opset_import == model.opset_import
    assert done.model.metadata_props == model.metadata_props
    assert done.model.producer_name == "edgepose"
    names = [n.name for n in model.graph.node]
    assert [n.name for n in done.model.graph.node if n.op_type != "Cast"] == names
    np.testing.assert_allclose(run(done.model, images()), run(model, images()), atol=5e-3)


def test_an_output_that_is_read_inside_as_well() -> None:
    nodes = [conv("images", "y"), node("Relu", "y", "r"), conv("r", "z")]
    model = graph(nodes, {"w": SQUARE}, output="y z")
    done = converted(model)
    found = types(done.model)
    assert found["y"] == found["z"] == "FLOAT"
    assert found["y_fp16"] == "FLOAT16"
    relu = next(n for n in done.model.graph.node if n.op_type == "Relu")
    assert list(relu.input) == ["y_fp16"]


def test_one_cast_serves_all_who_read_a_value() -> None:
    branches = [node("Softmax", "a", f"s{i}") for i in range(3)]
    model = sandwich([*branches, node("Sum", "s0 s1 s2", "b")])
    done = converted(model)
    assert [pair for pair in casts(done.model) if pair[0] == "a"] == [("a", "a_fp32")]
    # The input, a, three results of softmax, the output.
    assert done.casts == len(casts(done.model)) == 6


def test_casts_are_named_after_the_module_that_made_the_value() -> None:
    done = converted(
        sandwich([node("Softmax", "a", "b", name="block.0.attend(Attention)/Softmax_1")])
    )
    assert "block.0.attend(Attention)/Cast_b_fp16" in [n.name for n in done.model.graph.node]


def test_names_that_are_taken_are_left_alone() -> None:
    model = sandwich([node("Softmax", "a", "a_fp32"), node("Relu", "a_fp32", "b")])
    done = converted(model)
    assert ("a", "a_fp32_") in casts(done.model)


def test_a_weight_for_both_precisions_is_stored_in_both() -> None:
    model = sandwich([node("Mul", "a half", "b")], {"half": 0.5})
    shared = graph(
        [
            conv("images", "a"),
            node("Mul", "a half", "m"),
            node("ReduceMean", "m", "r", keepdims=1),
            node("Mul", "r half", "s"),
            node("Mul", "a half", "t"),
            node("Add", "t s", "y"),
        ],
        {"w": SQUARE, "half": 0.5},
    )
    assert types(converted(model).model)["half"] == "FLOAT16"
    found = types(converted(shared).model)
    assert (found["half"], found["half_fp16"]) == ("FLOAT", "FLOAT16")


# What stays


@pytest.mark.parametrize(
    ("middle", "weights"),
    [
        (node("LayerNormalization", "a one", "b", axis=-1), {"one": np.ones(8, np.float32)}),
        (
            node("InstanceNormalization", "a one zero", "b"),
            {"one": np.ones(3, np.float32), "zero": np.zeros(3, np.float32)},
        ),
        (node("Softmax", "a", "b"), {}),
        (node("LogSoftmax", "a", "b"), {}),
        (node("ReduceMean", "a axes", "b"), {"axes": np.array([2, 3])}),
        (node("ReduceSum", "a axes", "b"), {"axes": np.array([2, 3])}),
        (node("ReduceL2", "a axes", "b"), {"axes": np.array([2, 3])}),
        (node("GlobalAveragePool", "a", "b"), {}),
        (node("Exp", "a", "b"), {}),
    ],
    ids=lambda value: value.op_type if isinstance(value, onnx.NodeProto) else "",
)
def test_norms_softmax_and_sums_stay(middle: onnx.NodeProto, weights: dict[str, Any]) -> None:
    model = sandwich([middle], weights)
    done = converted(model)
    assert list(reasons(done)) == ["b"]
    assert done.kept[0].module == "layer"
    assert types(done.model)["b"] == "FLOAT"
    np.testing.assert_allclose(run(done.model, images()), run(model, images()), atol=2e-2)


WRITTEN_OUT = [
    node("ReduceMean", "a axes", "mean"),
    node("Sub", "a mean", "centred"),
    node("Mul", "centred centred", "squares"),
    node("ReduceMean", "squares axes", "variance"),
    node("Add", "variance epsilon", "shifted"),
    node("Sqrt", "shifted", "root"),
    node("Div", "centred root", "unit"),
    node("Mul", "unit gain", "scaled"),
    node("Add", "scaled shift", "b"),
]
NORM_WEIGHTS = {
    "axes": np.array([1, 2, 3]),
    "epsilon": 1e-6,
    "gain": np.full((3, 1, 1), 2, np.float32),
    "shift": np.full((3, 1, 1), 0.5, np.float32),
}


def test_a_norm_that_is_written_out_stays_as_a_whole() -> None:
    model = sandwich(WRITTEN_OUT, NORM_WEIGHTS)
    done = converted(model)
    assert list(reasons(done)) == [n.output[0] for n in WRITTEN_OUT]
    # Squares of 600 overflow FP16, and do not here, where every value that is FP16 is rounded.
    loud = 600 * images()
    np.testing.assert_allclose(run(with_rounding(done.model), loud), run(model, loud), atol=2e-2)


def test_grn_stays_up_to_the_product_with_the_map() -> None:
    model = sandwich(
        [
            node("Mul", "a scale", "scaled"),
            node("Mul", "scaled scaled", "squares"),
            node("ReduceSum", "squares places", "energy"),
            node("Sqrt", "energy", "norm"),
            node("ReduceMean", "norm channels", "mean"),
            node("Add", "mean epsilon", "shifted"),
            node("Div", "norm shifted", "ratio"),
            node("Mul", "gain ratio", "gained"),
            node("Add", "gained one", "factor"),
            node("Mul", "a factor", "b"),
        ],
        {
            "places": np.array([2, 3]),
            "channels": np.array([1]),
            "scale": 0.125,
            "epsilon": 1e-8,
            "gain": np.full((1, 3, 1, 1), 0.3, np.float32),
            "one": 1.0,
        },
    )
    done = converted(model)
    assert set(reasons(done)) == {
        "scaled", "squares", "energy", "norm", "mean", "shifted", "ratio", "gained", "factor"
    }  # fmt: skip
    assert casts(done.model) == [
        ("images", "images_fp16"),
        ("a", "a_fp32"),
        ("factor", "factor_fp16"),
        ("y_fp16", "y"),
    ]
    np.testing.assert_allclose(run(done.model, images()), run(model, images()), atol=2e-2)


def test_the_scale_of_attention_stays_with_its_softmax() -> None:
    model = sandwich(
        [node("Mul", "a scale", "logits"), node("Softmax", "logits", "b")], {"scale": 2}
    )
    assert reasons(converted(model)) == {
        "logits": "leads to Softmax alone",
        "b": "softmax: a sum of exponentials",
    }


def test_what_lies_between_kept_nodes_stays_so_that_nothing_is_cast_twice() -> None:
    model = sandwich(
        [
            node("Softmax", "a", "s"),
            node("Transpose", "s", "t", perm=[0, 2, 3, 1]),
            node("Split", "t", "u v", axis=1, num_outputs=2),
            node("Concat", "v u", "c", axis=1),
            node("ReduceMean", "c axes", "m"),
            node("Transpose", "m", "b", perm=[0, 3, 1, 2]),
        ],
        {"axes": np.array([1, 2])},
    )
    done = converted(model)
    assert list(reasons(done)) == ["s", "t", "u", "c", "m"]
    assert cast_twice(done.model) == []
    assert done.casts == 4


def test_a_gate_is_decided_in_fp32_and_chosen_in_fp16() -> None:
    """SRU with its threshold: norm, affine and comparison stay; the choice is exact anyway."""
    model = sandwich(
        [
            node("InstanceNormalization", "a one zero", "n"),
            node("Mul", "n gain", "g"),
            node("Add", "g shift", "score"),
            node("Greater", "score nought", "above"),
            node("Sigmoid", "score", "gate"),
            node("Mul", "gate a", "gated"),
            node("Where", "above a gated", "b"),
        ],
        {
            "one": np.ones(3, np.float32),
            "zero": np.zeros(3, np.float32),
            "gain": np.full((3, 1, 1), 0.7, np.float32),
            "shift": np.full((3, 1, 1), -0.1, np.float32),
            "nought": 0.0,
        },
    )
    done = converted(model)
    assert set(reasons(done)) == {"n", "g", "score", "above"}
    assert types(done.model)["b"] == "FLOAT16"


def unpooling() -> onnx.ModelProto:
    """Max pooling that remembers the upper left winner, behind a point convolution."""
    corners = {
        f"{name}_{part}": np.array(value)
        for name, (row, column) in {"ul": (0, 0), "ur": (0, 1), "ll": (1, 0), "lr": (1, 1)}.items()
        for part, value in (("from", [row, column]), ("to", [8, 8]))
    }
    slices = [
        node("Slice", f"p {name}_from {name}_to axes steps", name)
        for name in ("ul", "ur", "ll", "lr")
    ]
    return sandwich(
        [
            conv("a", "p"),
            node("MaxPool", "p", "pooled", kernel_shape=[2, 2], strides=[2, 2]),
            *slices,
            node("Max", "ul ur", "upper"),
            node("Max", "ll lr", "lower"),
            node("GreaterOrEqual", "upper lower", "above"),
            node("GreaterOrEqual", "ul ur", "left"),
            node("And", "above left", "mask"),
            conv("pooled", "q"),
            node("Where", "mask q nought", "b"),
        ],
        {**corners, "axes": np.array([2, 3]), "steps": np.array([2, 2]), "nought": 0.0},
    )


def test_max_unpooling_is_decided_in_fp32_from_its_convolution_on() -> None:
    done = converted(unpooling())
    told = reasons(done)
    assert told["p"] == "computes what is compared"
    assert {"ul", "ur", "ll", "lr", "upper", "lower"} <= set(told)
    assert told["above"] == told["left"] == "decides by comparing"
    assert "q" not in told and "b" not in told
    # Only the pooled map is cast, a quarter of what is compared.
    assert [source for source, _ in casts(done.model)] == ["images", "a", "pooled", "y_fp16"]


def folded(*, size: int = 8) -> onnx.ModelProto:
    """Bytes to a keypoint: normalise, one layer, argmax, blur and an offset."""
    return graph(
        [
            node("Cast", "images", "floats", to=TensorProto.FLOAT),
            node("Transpose", "floats", "planes", perm=[0, 3, 1, 2]),
            node("Mul", "planes scale", "normal"),
            conv("normal", "maps"),
            node("Reshape", "maps flat", "rows"),
            node("ArgMax", "rows", "peak", axis=-1, keepdims=1),
            node("Cast", "peak", "index", to=TensorProto.FLOAT),
            node("Div", "index width", "row"),
            node("MatMul", "maps blur", "smooth"),
            node("Reshape", "smooth flat", "smooth_rows"),
            node("GatherElements", "smooth_rows peak", "height", axis=-1),
            node("Add", "row height", "y"),
        ],
        {
            "scale": 1 / 255,
            "w": SQUARE,
            "flat": np.array([0, 3, -1]),
            "width": float(size),
            "blur": np.eye(size, dtype=np.float32),
        },
        shape=["batch", size, size, 3],
        kind=TensorProto.UINT8,
    )


def test_of_a_folded_graph_the_ends_stay_and_the_layers_do_not() -> None:
    model = folded()
    done = converted(model)
    told = reasons(done)
    assert {told[n] for n in ("floats", "planes", "normal")} == {"prepares the picture"}
    assert {told[n] for n in ("row", "smooth", "height", "y")} == {"decodes the poses"}
    assert "maps" not in told
    assert done.casts == 2
    picture = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype(np.uint8)
    np.testing.assert_allclose(run(done.model, picture), run(model, picture), atol=5e-3)


def test_an_argmax_inside_the_network_decides_alone() -> None:
    model = graph(
        [
            conv("images", "a"),
            node("ArgMax", "a", "best", axis=1, keepdims=1),
            node("Cast", "best", "index", to=TensorProto.FLOAT),
            node("Mul", "index step", "offset"),
            node("Add", "a offset", "b"),
            conv("b", "y"),
        ],
        {"w": SQUARE, "step": 0.1},
    )
    told = reasons(converted(model))
    assert told == {
        "best": "decides by comparing",
        "index": "index arithmetic: FP16 counts to 2048",
        "offset": "arithmetic on sums",
    }


def test_scales_of_resize_stay_where_the_map_does_not() -> None:
    model = sandwich(
        [node("Resize", "a  scales".replace("  ", " none "), "b")],
        {"none": np.zeros(0, np.float32), "scales": np.array([1, 1, 2, 2], np.float32)},
    )
    found = types(converted(model).model)
    assert (found["b"], found["scales"]) == ("FLOAT16", "FLOAT")


# Ranges and weights


@pytest.mark.parametrize(("reach", "stays"), [(16000, False), (17000, True), (np.inf, True)])
def test_a_tensor_that_may_overflow_is_fp32_everywhere(reach: float, stays: bool) -> None:
    model = sandwich([node("Relu", "a", "b")])
    done = converted(model, a=Range(-reach, 1))
    assert set(reasons(done)) == ({"a", "b"} if stays else set())
    if stays:
        assert reasons(done)["a"] == f"'a' reaches {reach:.3g}, FP16 ends at 65504"


@pytest.mark.parametrize(
    ("reach", "stays"), [(2 * SMALLEST, False), (SMALLEST / 2, True), (0.0, False)]
)
def test_a_tensor_that_would_lose_its_digits_is_fp32(reach: float, stays: bool) -> None:
    done = converted(sandwich([node("Relu", "a", "b")]), a=Range(0, reach))
    assert set(reasons(done)) == ({"a", "b"} if stays else set())


def test_measured_overflow_is_kept_and_the_result_finite() -> None:
    """The second layer reaches 10^6, the third comes back."""
    weights = {"up": 1e5 * random_weight(3, 3, 1, 1), "down": 1e-5 * random_weight(3, 3, 1, 1)}
    model = graph(
        [conv("images", "a", "up"), conv("a", "b", "middle"), conv("b", "y", "down")],
        {**weights, "middle": random_weight(3, 3, 1, 1)},
    )
    done = to_fp16(model, tensor_ranges(model, [images()]))
    assert set(reasons(done)) == {"a", "b", "y"}
    careless = to_fp16(model, unit_ranges(model))
    reckoned = run(with_rounding(done.model), images())
    np.testing.assert_allclose(reckoned, run(model, images()), rtol=5e-3, atol=1e-3)
    with np.errstate(invalid="ignore"):
        assert not np.isfinite(run(with_rounding(careless.model), images())).all()


@pytest.mark.parametrize(
    ("weight", "why"),
    [
        (np.full((3, 3, 1, 1), 7e4, np.float32), "reaches 7e+04, FP16 ends at 65504"),
        (1e-6 * random_weight(3, 3, 1, 1), "is too small for FP16"),
        (1e-9 * random_weight(3, 3, 1, 1), "is too small for FP16"),
    ],
)
def test_weights_that_fp16_cannot_hold(weight: np.ndarray, why: str) -> None:
    model = graph([conv("images", "a", "odd"), conv("a", "y")], {"odd": weight, "w": SQUARE})
    told = reasons(converted(model))
    assert list(told) == ["a"]
    assert told["a"].startswith(f"its weight 'odd' {why}")


def test_weights_that_lose_nothing_that_matters() -> None:
    """A few tiny values among ordinary ones, zeros, and the infinity of a mask."""
    mixed = random_weight(3, 3, 1, 1)
    mixed[0, 0], mixed[1, 1] = 1e-9, 0
    mask = np.where(np.eye(8) > 0, 0, -np.inf).astype(np.float32)
    model = sandwich(
        [node("Add", "a mask", "m"), node("Softmax", "m", "b")], {"w": mixed, "mask": mask}
    )
    assert list(reasons(converted(model))) == ["m", "b"]
    done = converted(sandwich([node("Add", "a mask", "b")], {"w": mixed, "mask": mask}))
    assert done.kept == ()


def test_a_range_that_was_not_measured_is_an_error() -> None:
    model = sandwich([node("Relu", "a", "b")])
    ranges = unit_ranges(model)
    del ranges["b"]
    with pytest.raises(GraphError, match="range of 'b' is not known: 1 of 3 tensors"):
        to_fp16(model, ranges)


# Q/DQ


def quantised(opset: int = 19, scale: float = 0.05, weight_scale: float = 0.01) -> onnx.ModelProto:
    """Two convolutions, the first and its activations quantised; a norm reads them too."""
    stored = np.random.default_rng(0).integers(-100, 100, (3, 3, 1, 1)).astype(np.int8)
    return graph(
        [
            node("Relu", "images", "x"),
            node("QuantizeLinear", "x s zero", "x_q"),
            node("DequantizeLinear", "x_q s zero", "x_dq"),
            node("DequantizeLinear", "w_q ws zeros", "w_dq", axis=0),
            conv("x_dq", "a", "w_dq"),
            node("Softmax", "x_dq", "n"),
            node("Add", "a n", "b"),
            conv("b", "y"),
        ],
        {
            "s": scale,
            "zero": np.zeros((), np.int8),
            "w_q": stored,
            "ws": np.full(3, weight_scale, np.float32),
            "zeros": np.zeros(3, np.int8),
            "w": SQUARE,
        },
        opset=opset,
    )


def test_quantisers_take_the_type_of_their_neighbours_and_no_cast() -> None:
    model = quantised()
    done = converted(model)
    found = types(done.model)
    assert (found["s"], found["s_fp16"], found["ws"]) == ("FLOAT", "FLOAT16", "FLOAT16")
    assert (found["x_dq"], found["x_dq_fp32"], found["w_dq"]) == ("FLOAT16", "FLOAT", "FLOAT16")
    assert {kept.op for kept in done.kept} == {"Softmax"}
    makers = {name: n.op_type for n in done.model.graph.node for name in n.output}
    assert makers["x_dq"] == makers["x_dq_fp32"] == "DequantizeLinear"
    assert all("q" not in source for source, _ in casts(done.model))
    difference = run(with_rounding(done.model), images()) - run(model, images())
    # Rounding to FP16 tips a few roundings to INT8.
    assert np.quantile(np.abs(difference), 0.9) < 5e-3


def test_a_scale_that_fp16_cannot_hold_keeps_its_product() -> None:
    done = converted(quantised(weight_scale=3e-8))
    assert reasons(done)["a"].startswith("its weight 'ws' is too small for FP16")
    found = types(done.model)
    assert (found["w_dq"], found["x_dq"], found["ws"]) == ("FLOAT", "FLOAT", "FLOAT")


def test_what_is_dequantised_needs_no_range_of_its_own() -> None:
    """Ranges of the graph that was quantised do."""
    model = quantised()
    ranges = unit_ranges(model)
    del ranges["x_dq"], ranges["w_dq"]
    assert reasons(to_fp16(model, ranges)) == reasons(converted(model))


def test_quantisers_below_operator_set_19_are_refused() -> None:
    with pytest.raises(GraphError, match="operator set 18, and Q/DQ have FP16 from 19 on") as error:
        converted(quantised(opset=18))
    assert "--opset 19" in str(error.value)


# What is refused


def test_an_fp16_graph_is_refused() -> None:
    model = sandwich([node("Relu", "a", "b")])
    with pytest.raises(GraphError, match="computes in FP16 already"):
        to_fp16(converted(model).model, unit_ranges(model))


def test_branches_are_refused() -> None:
    branch = helper.make_graph(
        [node("Relu", "images", "r")], "g", [], [onnx.ValueInfoProto(name="r")]
    )
    fork = node("If", "yes", "y", then_branch=branch, else_branch=branch)
    model = graph([fork], {"yes": np.array(True)})
    with pytest.raises(GraphError, match="branches at If node"):
        to_fp16(model, {})


def test_operators_that_are_not_onnx_are_refused() -> None:
    model = sandwich([node("Relu", "a", "b")])
    model.graph.node[1].domain = "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    del model.graph.value_info[:]
    with pytest.raises(GraphError, match="type of 'b' is not known"):
        to_fp16(model, {"a": Range(-1, 1)})


def test_weights_in_another_file_are_refused() -> None:
    model = sandwich([node("Relu", "a", "b")])
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    with pytest.raises(GraphError, match="weight 'w' is not in memory"):
        to_fp16(model, unit_ranges(model))


# The shipped model


@pytest.fixture(scope="module")
def shipped(repo_root: Path) -> tuple[onnx.ModelProto, Fp16]:
    model = onnx.load(repo_root / "models/mitpose-lite/mitpose-lite-128x96.onnx")
    return model, to_fp16(model, tensor_ranges(model, [crops(read_spec(model))]))


def test_of_the_shipped_model_every_product_is_fp16(shipped: tuple[onnx.ModelProto, Fp16]) -> None:
    model, done = shipped
    onnx.checker.check_model(done.model, full_check=True)
    assert {n.op_type for n in model.graph.node} >= {"Conv", "MatMul", "Softmax"}
    assert [kept for kept in done.kept if kept.op in PRODUCTS] == []
    assert {"Softmax", "ReduceMean"} <= {kept.op for kept in done.kept}
    assert cast_twice(done.model) == []
    assert done.casts < len(model.graph.node) / 6
    assert 1.9 < model.ByteSize() / done.model.ByteSize() < 2.1
    assert done.model.metadata_props == model.metadata_props
    weights = {w.name: w for w in model.graph.initializer}
    for weight in done.model.graph.initializer:
        before = numpy_helper.to_array(weights[weight.name.removesuffix("_fp16")])
        np.testing.assert_allclose(numpy_helper.to_array(weight), before, rtol=1e-3, atol=1e-7)


def test_the_shipped_model_rounds_to_the_same_maps(shipped: tuple[onnx.ModelProto, Fp16]) -> None:
    model, done = shipped
    values = crops(read_spec(model))
    exact = run(model, values)
    for other in (done.model, with_rounding(done.model)):
        assert np.corrcoef(exact.ravel(), run(other, values).ravel())[0, 1] > 0.9999


@pytest.mark.trt
@pytest.mark.skipif(not installed(), reason='needs TensorRT-RTX: pip install "edgepose[rtx]"')
@pytest.mark.parametrize("name", ["unpooling", "quantised"])
def test_tensorrt_reads_and_builds_it(name: str, tmp_path: Path) -> None:
    model = {"unpooling": unpooling, "quantised": quantised}[name]()
    onnx.save(converted(model).model, tmp_path / "model.onnx")
    built = build_engine(
        tmp_path / "model.onnx",
        tmp_path / "model.engine",
        product="tensorrt-rtx",
        spec=heatmap_spec((8, 8)),
    )
    assert built.path.stat().st_size > 0
