from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgepose.export.precision.balance import balanced, balanced_name
from edgepose.export.precision.plan import make_plan
from tests.export.precision.graphs import conv, graph, images, node, random_weight, run

PEAKS = np.array([5.0, 0.01, 900.0], np.float32)


def two_readers() -> onnx.ModelProto:
    return graph(
        [
            node("Relu", "images", "a"),
            conv("a", "b", "w", name="stem.0(Conv2d)/Conv_1"),
            conv("a", "c", "w", name="stem.1(Conv2d)/Conv_2"),
            node("Sub", "a half", "d"),
            conv("d", "e", "w"),
            node("Add", "b c", "bc"),
            node("Add", "bc e", "sum"),
            conv("sum", "y", "head"),
        ],
        {"w": random_weight(4, 3, 3, 3), "head": random_weight(2, 4, 1, 1), "half": 0.5},
    )


def test_the_graph_computes_the_same() -> None:
    model = two_readers()
    made = balanced(model, make_plan(model).sites, {"a": PEAKS})
    x = images(3)
    assert run(made, x) == pytest.approx(run(model, x), rel=1e-5, abs=1e-6)


def test_all_who_read_it_share_the_balanced_activation() -> None:
    model = two_readers()
    made = balanced(model, make_plan(model).sites, {"a": PEAKS})
    products = [n for n in made.graph.node if n.op_type == "Mul"]
    assert [n.name for n in products] == ["stem.0(Conv2d)/Mul_balance_Conv_1"]
    readers = [n.input[0] for n in made.graph.node if n.op_type == "Conv"]
    assert readers == [balanced_name("a"), balanced_name("a"), "d", "sum"]
    plan = make_plan(made)
    assert [s.data for s in plan.sites] == [balanced_name("a"), balanced_name("a"), "d"]


def test_channels_come_out_of_one_size() -> None:
    model = two_readers()
    made = balanced(model, make_plan(model).sites, {"a": PEAKS})
    (factors,) = (w for w in made.graph.initializer if w.name == "a_balanced_factors")
    values = np.frombuffer(factors.raw_data, "<f4").reshape(factors.dims)
    assert values.shape == (3, 1, 1)
    sizes = values.ravel() * PEAKS
    assert sizes[[0, 2]] == pytest.approx(1, abs=0.5)
    assert np.log2(values).ravel().tolist() == [-2, 2, -10]  # 0.01 counts as 900 / 4096


def test_a_silent_tensor_stays_as_it_is() -> None:
    model = two_readers()
    made = balanced(model, make_plan(model).sites, {"a": np.zeros(3, np.float32)})
    x = images(1)
    assert run(made, x) == pytest.approx(run(model, x), rel=1e-5, abs=1e-6)


def test_channels_may_stand_last() -> None:
    model = graph(
        [
            node("Relu", "images", "a"),
            node("MatMul", "a w", "b"),
            node("MatMul", "b head", "y"),
        ],
        {"w": random_weight(3, 5), "head": random_weight(5, 2)},
        shape=("batch", 7, 3),
    )
    made = balanced(model, make_plan(model).sites, {"a": PEAKS})
    x = images(2, (7, 3))
    assert run(made, x) == pytest.approx(run(model, x), rel=1e-5, abs=1e-6)
