from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepose.errors import GraphError
from edgepose.export.opset import downgrade

SHAPE = ["batch", 5, 6, 8]


def model_of(
    *nodes: onnx.NodeProto, constants: dict[str, Any] | None = None, shape: list[Any] = SHAPE
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def run(model: onnx.ModelProto) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    x = np.random.default_rng(0).random((2, 5, 6, 8), np.float32)
    (y,) = session.run(["y"], {"x": x})
    return np.asarray(y)


NODE = helper.make_node
AXES = {"axes": np.array([2, 3], np.int64)}


@pytest.mark.parametrize(
    "model",
    [
        model_of(NODE("ReduceMean", ["x", "axes"], ["y"], keepdims=1), constants=AXES),
        model_of(NODE("ReduceMax", ["x"], ["y"], keepdims=0)),
        model_of(  # five channels in two parts: three and two
            NODE("Split", ["x"], ["a", "y"], axis=1, num_outputs=2)
        ),
        model_of(
            NODE("Resize", ["x", "", "scales"], ["y"], mode="linear", antialias=0),
            constants={"scales": np.array([1, 1, 2, 2], np.float32)},
        ),
        model_of(
            NODE("Pad", ["x", "pads"], ["y"]),
            constants={"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)},
        ),
    ],
    ids=["mean", "max of all", "uneven split", "resize", "pad"],
)
def test_it_computes_the_same(model: onnx.ModelProto) -> None:
    older = downgrade(model)
    assert older.opset_import[0].version == 17
    onnx.checker.check_model(older, full_check=True)
    np.testing.assert_array_equal(run(older), run(model))


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (
            model_of(
                NODE("Resize", ["x", "", "s"], ["y"], name="n", mode="linear", antialias=1),
                constants={"s": np.array([1, 1, 0.5, 0.5], np.float32)},
            ),
            "antialias",
        ),
        (
            model_of(
                NODE("Pad", ["x", "pads", "", "axes"], ["y"], name="n"),
                constants={"pads": np.array([1, 1, 1, 1], np.int64)} | AXES,
            ),
            "chosen axes",
        ),
        (
            model_of(
                NODE("Shape", ["x"], ["s"]),
                NODE("Slice", ["s", "one", "two"], ["last"]),
                NODE("ReduceMean", ["x", "last"], ["y"], name="n"),
                constants={"one": np.array([1], np.int64), "two": np.array([2], np.int64)},
            ),
            "computed",
        ),
        (
            model_of(
                NODE("Split", ["x"], ["a", "y"], name="n", axis=1, num_outputs=2),
                shape=["batch", "any", 6, 8],
            ),
            "not known",
        ),
        (model_of(NODE("Mish", ["x"], ["y"], name="n")), "none with this meaning"),
    ],
    ids=["antialias", "pad axes", "computed axes", "unknown extent", "new operator"],
)
def test_what_17_does_not_have_is_an_error_that_names_the_node(
    model: onnx.ModelProto, why: str
) -> None:
    with pytest.raises(GraphError, match=rf"'n'[\s\S]*{why}[\s\S]*--opset 18"):
        downgrade(model)
