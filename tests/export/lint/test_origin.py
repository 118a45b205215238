"""Nodes are named after the PyTorch modules they come from."""

from __future__ import annotations

from collections import OrderedDict

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from edgepose.export.fold_io import FoldedIO
from edgepose.export.lint import TARGETS, lint, refusal
from edgepose.export.lint.origin import (
    Origin,
    name_by_module,
    name_strays,
    origin_of,
    short_name,
)
from edgepose.export.trace import trace
from tests.export.tiny import SIZE, TinyHeatmaps, heatmap_spec


class Unpooling(nn.Module):
    """torch's own pair of pooling and unpooling."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2, return_indices=True)
        self.unpool = nn.MaxUnpool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        pooled, places = self.pool(x)
        return self.unpool(pooled, places)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        parts = [("a-b", nn.Conv2d(3, 8, 3, padding=1)), ("norm", nn.BatchNorm2d(8))]
        self.stem = nn.Sequential(OrderedDict(parts))
        self.decoder = nn.ModuleList([Unpooling()])
        self.halve = Halve()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"out": self.halve(self.decoder[0](self.stem(images))).softmax(1) + 1}


class Halve(nn.Module):
    """Two halves: a Split that the exporter makes without a word of where from."""

    def forward(self, x: Tensor) -> Tensor:
        upper, lower = x.chunk(2, dim=1)
        return upper * lower


@pytest.fixture(scope="module")
def unpooling() -> onnx.ModelProto:
    return trace(Net().eval(), torch.zeros(3, 16, 16), opset=17)


def modules_of(model: onnx.ModelProto) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for node in model.graph.node:
        found.setdefault(node.op_type, set()).add(str(origin_of(node.name)))
    return found


def test_every_node_tells_its_module(unpooling: onnx.ModelProto) -> None:
    found = modules_of(unpooling)
    assert found["Conv"] == {"stem.norm (BatchNorm2d)"}  # the norm that was folded into it
    assert found["MaxPool"] == {"decoder.0.pool (MaxPool2d)"}
    assert found["ScatterND"] == {"decoder.0.unpool (MaxUnpool2d)"}
    assert found["Softmax"] == {"the model itself (Net)"}
    # Not the module whose output is cut, but the one that cuts it.
    assert found["Split"] == {"halve (Halve)"}
    assert not any("None" in names for names in found.values())


def test_names_differ(unpooling: onnx.ModelProto) -> None:
    names = [node.name for node in unpooling.graph.node]
    assert len(set(names)) == len(names)


def test_the_lint_refuses_torchs_own_unpooling_by_name(unpooling: onnx.ModelProto) -> None:
    for name in ("trt-8.6", "trt-10", "trt-11", "trt-rtx"):
        result = lint(unpooling, TARGETS[name])
        error = str(refusal(unpooling, result))
        assert "of decoder.0.pool (MaxPool2d): its Indices output is not supported" in error
        assert "read by --target ort" in error
        assert {finding.op for finding in result.findings} == {"MaxPool"}
    assert lint(unpooling, TARGETS["ort"])


def test_what_edgepose_wraps_around_is_left_out() -> None:
    folded = FoldedIO(TinyHeatmaps(), heatmap_spec())
    model = trace(folded, torch.zeros(*SIZE, 3, dtype=torch.uint8), opset=17)
    kinds = {str(origin_of(node.name)) for node in model.graph.node}
    assert {
        "normalise (Normalise)",
        "decode (DecodeHeatmaps)",
        "head (Conv2d)",
        "the model itself (TinyHeatmaps)",
    } <= kinds
    assert not any("module" in kind or "FoldedIO" in kind for kind in kinds)
    for target in TARGETS.values():  # bytes in, keypoints out, for everyone
        assert lint(model, target), refusal(model, lint(model, target))


@pytest.mark.parametrize(
    ("name", "origin", "short"),
    [
        ("a.0.b(Conv2d)/Conv_3", Origin("a.0.b", "Conv2d"), "Conv_3"),
        ("(Net)/Add_s12", Origin("", "Net"), "Add_s12"),
        ("/a/b/Conv", None, "/a/b/Conv"),  # the older exporter's names
        ("node_conv2d_1", None, "node_conv2d_1"),
        ("", None, ""),
    ],
)
def test_names_are_read_back(name: str, origin: Origin | None, short: str) -> None:
    assert origin_of(name) == origin
    assert short_name(name) == short


def chain(names: list[str]) -> onnx.GraphProto:
    """Relus one after another."""
    nodes = [
        helper.make_node("Relu", [f"v{i}"], [f"v{i + 1}"], name=n) for i, n in enumerate(names)
    ]
    value = helper.make_tensor_value_info("v0", TensorProto.FLOAT, [1])
    return helper.make_graph(nodes, "g", [value], [value])


def names_of(graph: onnx.GraphProto) -> list[str]:
    return [node.name for node in graph.node]


def test_strays_belong_to_what_their_values_came_from_then_to_takers_then_to_feeders() -> None:
    graph = chain(["a(A)/Relu_0", "x", "b(B)/Relu_1", "y", "z"])
    name_strays(graph, {"v2": Origin("c", "C")})
    assert names_of(graph)[1] == "c(C)/Relu_s1"
    assert names_of(graph)[3:] == ["b(B)/Relu_s3", "b(B)/Relu_s4"]
    graph = chain(["a(A)/Relu_0", "x", "b(B)/Relu_1"])
    name_strays(graph, {})
    assert names_of(graph)[1] == "b(B)/Relu_s1"


def test_without_any_module_names_stay() -> None:
    graph = chain(["x", "y"])
    assert name_by_module(graph) == {}
    name_strays(graph, {})
    assert names_of(graph) == ["x", "y"]
