from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from edgepose.export.precision.rounding import with_rounding
from tests.export.precision.graphs import conv, graph, images, node, random_weight, run, types

VALUES = np.array([1 + 2.0**-12, 1 + 2.0**-11 + 2.0**-20, 7e4, -1e5, 3e-8, 1e-9, 2049.0, 0.1])


def spread(values: np.ndarray) -> np.ndarray:
    return np.resize(values, (1, 3, 8, 8)).astype(np.float32)


def halves(*nodes: tuple[str, str, str]) -> object:
    """FP16 nodes between two casts."""
    inner = [node(*n) for n in nodes]
    return graph(
        [
            node("Cast", "images", "h", to=TensorProto.FLOAT16),
            *inner,
            node("Cast", inner[-1].output[0], "y", to=TensorProto.FLOAT),
        ],
        {"two": np.array(2, np.float16)},
    )


def test_every_value_is_rounded_as_numpy_rounds_it() -> None:
    values = spread(VALUES)
    rounded = run(with_rounding(halves(("Mul", "h two", "m"))), values)  # type: ignore[arg-type]
    with np.errstate(over="ignore"):
        expected = (values.astype(np.float16) * np.float16(2)).astype(np.float32)
    np.testing.assert_array_equal(rounded, expected)
    assert np.isinf(expected).any()


def test_between_two_nodes_too() -> None:
    """Doubled past 65504 and halved again: infinity, where FP32 comes back."""
    model = halves(("Mul", "h two", "m"), ("Div", "m two", "d"))
    loud = np.full((1, 3, 8, 8), 4e4, np.float32)
    assert np.isinf(run(with_rounding(model), loud)).all()  # type: ignore[arg-type]


def test_what_moves_values_is_not_rounded_again() -> None:
    model = with_rounding(halves(("Transpose", "h", "t"), ("Relu", "t", "r")))  # type: ignore[arg-type]
    # One to h as it was, three to round it, one to y.
    assert sum(n.op_type == "Cast" for n in model.graph.node) == 5
    assert set(types(model).values()) <= {"FLOAT", "FLOAT16", "DOUBLE"}


def test_a_graph_without_fp16_stays_as_it_is() -> None:
    model = graph([conv("images", "y")], {"w": random_weight(3, 3, 1, 1)})
    model.metadata_props.add(key="edgepose.spec", value="{}")
    assert with_rounding(model) == model


@pytest.mark.parametrize("operator", ["Constant", "ConstantOfShape"])
def test_types_in_attributes_follow(operator: str) -> None:
    from onnx import numpy_helper

    value = numpy_helper.from_array(np.array([0.5], np.float16))
    constant = (
        node("Constant", "", "c", value=value)
        if operator == "Constant"
        else node("ConstantOfShape", "one", "c", value=value)
    )
    model = graph(
        [
            constant,
            node("Cast", "images", "h", to=TensorProto.FLOAT16),
            node("Add", "h c", "a"),
            node("Cast", "a", "y", to=TensorProto.FLOAT),
        ],
        {"one": np.array([1])},
    )
    np.testing.assert_allclose(run(with_rounding(model), images()), images() + 0.5, atol=2e-3)
