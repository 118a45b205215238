"""A target through the export pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from torch import Tensor, nn

from edgepose.errors import InputError, LintError
from edgepose.export import TARGETS, export_model, export_module, graph, make_graph
from edgepose.export.lint import Complaint, Verdict
from edgepose.export.lint.rtx import installed
from tests.export.tiny import TinyHeatmaps, heatmap_spec, people


class WithIndices(nn.Module):
    """The small module behind torch's own pooling with indices and unpooling."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = TinyHeatmaps()
        self.pool = nn.MaxPool2d(2, return_indices=True)
        self.unpool = nn.MaxUnpool2d(2)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return self.inner(self.unpool(*self.pool(images)))


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_target_is_passed_and_said(tmp_path: Path) -> None:
    steps: list[str] = []
    result = export_module(
        TinyHeatmaps(),
        heatmap_spec(),
        tmp_path / "t.onnx",
        people(2),
        target=TARGETS["trt-8.6"],
        progress=steps.append,
    )
    assert result.opset == 17
    assert result.lint is not None
    assert result.lint.nodes == result.nodes
    assert f"TensorRT 8.6 reads all {result.nodes} nodes by its table" in steps
    data = result.to_dict()["lint"]
    assert data["target"] == "trt-8.6"
    assert data["findings"] == []
    assert data["parser"] is None


def test_without_a_target_there_is_no_lint(tmp_path: Path) -> None:
    result = export_module(TinyHeatmaps(), heatmap_spec(), tmp_path / "t.onnx", people(2))
    assert result.lint is None
    assert result.to_dict()["lint"] is None
    assert result.opset == 18


def test_onnxruntime_is_asked_itself(tmp_path: Path) -> None:
    result = export_module(
        TinyHeatmaps(), heatmap_spec(), tmp_path / "t.onnx", people(2), target=TARGETS["ort"]
    )
    assert result.to_dict()["lint"]["parser"]["supported"] is True


@pytest.mark.trt
@pytest.mark.skipif(not installed(), reason='needs TensorRT-RTX: pip install "edgepose[rtx]"')
def test_tensorrt_rtx_is_asked_itself(tmp_path: Path) -> None:
    result = export_module(
        TinyHeatmaps(),
        heatmap_spec(),
        tmp_path / "t.onnx",
        people(2),
        target=TARGETS["trt-rtx"],
        fold_io=True,
    )
    parser = result.to_dict()["lint"]["parser"]
    assert parser["name"].startswith("TensorRT-RTX ")
    assert parser["supported"] is True


def test_what_the_target_does_not_read_leaves_no_file(tmp_path: Path) -> None:
    out = tmp_path / "t.onnx"
    with pytest.raises(LintError, match=r"MaxPool_\d+ of pool \(MaxPool2d\)") as caught:
        export_module(WithIndices(), heatmap_spec(), out, people(2), target=TARGETS["trt-10"])
    assert not caught.value.lint
    assert left_in(tmp_path) == []


def test_what_the_runtime_itself_refuses_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def refuse(target: Any, path: Path) -> Verdict:
        asked.append(target.name)
        nodes = [node.name for node in onnx.load(path).graph.node]  # it is there to be read
        return Verdict("TensorRT-RTX 9", False, (Complaint(nodes[0], "Conv", "no"),))

    monkeypatch.setattr(graph, "ask", refuse)
    out = tmp_path / "t.onnx"
    out.write_bytes(b"older")
    with pytest.raises(LintError, match="TensorRT-RTX does not read") as caught:
        export_module(TinyHeatmaps(), heatmap_spec(), out, people(2), target=TARGETS["trt-rtx"])
    assert asked == ["trt-rtx"]
    assert caught.value.lint.findings[0].problem == "no"
    assert left_in(tmp_path) == ["t.onnx"]
    assert out.read_bytes() == b"older"


def test_the_graph_alone_is_held_to_the_table() -> None:
    with pytest.raises(LintError, match="inferred"):
        make_graph(WithIndices(), heatmap_spec(), target=TARGETS["trt-11"])


def test_wrong_targets_and_operator_sets_fail_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown target 'trt-9'"):
        export_model("mitpose-lite", out=tmp_path / "t.onnx", target="trt-9")
    with pytest.raises(InputError, match="does not read operator set 20"):
        export_model("mitpose-lite", out=tmp_path / "t.onnx", target="trt-8.6", opset=20)
    assert left_in(tmp_path) == []


def test_nothing_of_this_machine_is_in_the_names() -> None:
    model = make_graph(WithIndices(), heatmap_spec(), target=TARGETS["ort"]).model
    raw = model.SerializeToString()
    assert b"site-packages" not in raw
    assert b"/" + Path.home().name.encode() + b"/" not in raw
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
