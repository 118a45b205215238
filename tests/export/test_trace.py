from __future__ import annotations

import logging
import re

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from edgepose.errors import GraphError, InputError
from edgepose.export.trace import check_graph, trace
from tests.export.tiny import SIZE, TinyHeatmaps, TinySimCC

EXAMPLE = torch.zeros(3, *SIZE)


def axes(model: onnx.ModelProto) -> dict[str, list[str | int]]:
    return {
        v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in [*model.graph.input, *model.graph.output]
    }


def test_names_axes_and_format() -> None:
    model = trace(TinyHeatmaps(), EXAMPLE)
    assert axes(model) == {"images": ["batch", 3, 64, 48], "heatmaps": ["batch", 17, 16, 12]}
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 18)]
    assert model.ir_version == 8
    assert all(not i.external_data for i in model.graph.initializer)
    assert {i.data_type for i in model.graph.initializer} <= {TensorProto.FLOAT, TensorProto.INT64}


def test_outputs_keep_the_order_and_the_names_of_the_module() -> None:
    size = (64, 64)  # square: both outputs have the same shape, so only the order tells them apart
    module = TinySimCC(size)
    model = trace(module, torch.zeros(3, *size))
    assert [o.name for o in model.graph.output] == ["simcc_y", "simcc_x"]
    images = torch.randn(3, 3, *size)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    found = dict(
        zip(
            ["simcc_x", "simcc_y"],
            session.run(["simcc_x", "simcc_y"], {"images": images.numpy()}),
            strict=True,
        )
    )
    for name, expected in module(images).items():
        np.testing.assert_allclose(found[name], expected.detach(), atol=1e-5)


@pytest.mark.parametrize("opset", [17, 18, 19, 20])
def test_every_operator_set_runs_at_other_batches(opset: int) -> None:
    module = _Varied().eval()
    model = trace(module, EXAMPLE, opset=opset)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", opset)]
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for batch in (1, 3):
        images = torch.randn(batch, 3, *SIZE)
        (found,) = session.run(None, {"images": images.numpy()})
        np.testing.assert_allclose(found, module(images)["out"].detach(), atol=1e-5)


class _Varied(nn.Module):
    """Uses what changed between the operator sets: Split, Resize, Pad, reductions."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        first, second, third = images.chunk(3, dim=1)
        x = torch.cat([first * second, third], dim=1)
        x = nn.functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        x = nn.functional.pad(x, [1, 1, 1, 1])
        return {"out": x - x.mean((2, 3), keepdim=True) + x.amax((2, 3), keepdim=True)}


@pytest.mark.parametrize("opset", [16, 21])
def test_other_operator_sets_are_refused(opset: int) -> None:
    with pytest.raises(InputError, match=r"17 to 20[\s\S]*--opset 18"):
        trace(TinyHeatmaps(), EXAMPLE, opset=opset)


def test_a_batch_turned_into_a_number_is_found() -> None:
    class Static(nn.Module):
        def forward(self, images: Tensor) -> dict[str, Tensor]:
            return {"out": images.reshape(int(images.shape[0]), -1)}

    with pytest.raises(GraphError, match=r"fixed batch[\s\S]*no int\(\)"):
        trace(Static(), EXAMPLE)


def test_what_cannot_be_traced_is_a_graph_error() -> None:
    class Branching(nn.Module):
        def forward(self, images: Tensor) -> dict[str, Tensor]:
            return {"out": images * 2 if images.sum() > 0 else images}

    with pytest.raises(GraphError, match="cannot be traced"):
        trace(Branching(), EXAMPLE)


def test_nothing_of_this_machine_is_in_the_file() -> None:
    raw = trace(TinyHeatmaps(), EXAMPLE).SerializeToString()
    assert not re.search(rb"\.py\b|site-packages|Traceback", raw)


def test_the_same_module_gives_the_same_file() -> None:
    first, second = (trace(TinyHeatmaps(), EXAMPLE).SerializeToString() for _ in range(2))
    assert first == second


def test_it_is_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    before = logging.getLogger("torch.onnx").level
    trace(TinyHeatmaps(), EXAMPLE)
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("torch.onnx").level == before


def small_graph(*nodes: onnx.NodeProto, batch: str | int = "batch") -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes) or [helper.make_node("Relu", ["images"], ["out"])],
        "g",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["batch", 3])],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def test_a_plain_graph_passes() -> None:
    check_graph(small_graph(), ["out"])


def test_a_custom_operator_is_named() -> None:
    node = helper.make_node("Gelu", ["images"], ["out"], name="odd_one", domain="com.microsoft")
    with pytest.raises(GraphError, match=r"odd_one[\s\S]*com\.microsoft"):
        check_graph(small_graph(node), ["out"])


def test_a_custom_operator_in_a_branch_is_named() -> None:
    inner = helper.make_node("Gelu", ["images"], ["a"], name="hidden", domain="com.microsoft")
    value = helper.make_tensor_value_info("a", TensorProto.FLOAT, None)
    branch = helper.make_graph([inner], "branch", [], [value])
    node = helper.make_node("If", ["images"], ["out"], then_branch=branch, else_branch=branch)
    with pytest.raises(GraphError, match="hidden"):
        check_graph(small_graph(node), ["out"])


def test_local_functions_are_refused() -> None:
    model = small_graph()
    function = helper.make_function(
        "own", "mine", ["x"], ["y"], [helper.make_node("Relu", ["x"], ["y"])], model.opset_import
    )
    model.functions.append(function)
    with pytest.raises(GraphError, match=r"local functions[\s\S]*mine"):
        check_graph(model, ["out"])


def test_other_outputs_are_refused() -> None:
    with pytest.raises(GraphError, match="other inputs or outputs"):
        check_graph(small_graph(), ["heatmaps"])


def test_a_fixed_batch_is_refused() -> None:
    with pytest.raises(GraphError, match="'images' has 2"):
        check_graph(small_graph(batch=2), ["out"])


def test_an_invalid_graph_is_refused() -> None:
    with pytest.raises(GraphError, match="no valid ONNX"):
        check_graph(small_graph(helper.make_node("Relu", ["nowhere"], ["out"])), ["out"])
