"""Graphs that one file cannot hold, with a limit that a small model exceeds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import edgepose
from edgepose import zoo
from edgepose.errors import GraphError, ParityError
from edgepose.export import artefact, export_module, large
from edgepose.export.trace import trace
from edgepose.parity import ParityLimits
from edgepose.runtime.onnxruntime import OnnxRunner
from tests.export.tiny import SIZE, TinyHeatmaps, TinySimCC, heatmap_spec, people, simcc_spec

IMAGES = np.random.default_rng(0).normal(0, 1, (3, 3, *SIZE)).astype(np.float32)


def lower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "ONE_FILE", 10_000)
    monkeypatch.setattr(large, "LARGE", 5_000)
    monkeypatch.setattr(large, "HEAVY", 1_000)


@pytest.fixture
def low_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    lower(monkeypatch)


def left_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def lively(seed: int = 0) -> TinyHeatmaps:
    torch.manual_seed(seed)
    module = TinyHeatmaps()
    module.head.weight.data += 0.01 * torch.randn_like(module.head.weight)
    return module


@pytest.mark.usefixtures("low_limit")
@pytest.mark.parametrize("opset", [17, 18])
def test_weights_lie_beside_the_graph(tmp_path: Path, opset: int) -> None:
    result = export_module(lively(), heatmap_spec(), tmp_path / "t.onnx", people(), opset=opset)
    assert result.data is not None
    assert left_in(tmp_path) == ["t.onnx", result.data.name]
    digest = hashlib.sha256(result.data.read_bytes()).hexdigest()
    assert result.data.name == f"t.onnx.{digest[:16]}.data"
    assert result.sha256 == zoo.sha256_of(result.path)
    assert result.size_bytes == result.path.stat().st_size + result.data.stat().st_size
    assert result.to_dict()["data"] == str(result.data)

    model = onnx.load(result.path, load_external_data=False)
    assert {p.key: p.value for p in model.metadata_props}[large.DATA_DIGEST_KEY] == digest
    assert [i.name for i in model.graph.input] == ["images"]
    outside = [i for i in model.graph.initializer if i.external_data]
    assert outside
    assert all(
        len(i.raw_data) < large.SMALL for i in model.graph.initializer if not i.external_data
    )
    offsets = [int(e.value) for i in outside for e in i.external_data if e.key == "offset"]
    assert all(offset % 4096 == 0 for offset in offsets)
    onnx.checker.check_model(str(result.path), full_check=True)


@pytest.mark.parametrize("opset", [17, 18])
def test_it_computes_what_the_single_file_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opset: int
) -> None:
    single = export_module(lively(), heatmap_spec(), tmp_path / "a.onnx", people(), opset=opset)
    assert single.data is None
    lower(monkeypatch)
    pair = export_module(lively(), heatmap_spec(), tmp_path / "b.onnx", people(), opset=opset)
    with OnnxRunner(single.path) as one, OnnxRunner(pair.path) as two:
        for name, expected in one.infer(IMAGES).items():
            np.testing.assert_allclose(two.infer(IMAGES)[name], expected, atol=1e-6)
    with edgepose.load(pair.path) as pose:
        photo = people(1)[0]
        assert pose(photo.image, photo.boxes).keypoints.shape == (1, 17, 2)


@pytest.mark.usefixtures("low_limit")
def test_folded(tmp_path: Path) -> None:
    result = export_module(
        TinySimCC(), simcc_spec(), tmp_path / "t.onnx", people(), opset=18, fold_io=True
    )
    assert result.data is not None
    assert result.parity


@pytest.mark.usefixtures("low_limit")
def test_the_pair_can_move_together_but_not_apart(tmp_path: Path) -> None:
    result = export_module(lively(), heatmap_spec(), tmp_path / "a" / "t.onnx", people())
    assert result.data is not None
    moved = tmp_path / "b"
    result.path.parent.rename(moved)
    with OnnxRunner(moved / "t.onnx") as runner:
        assert runner.infer(IMAGES)
    (moved / result.data.name).rename(tmp_path / result.data.name)
    with pytest.raises(GraphError, match=r"cannot load[\s\S]*data"):
        OnnxRunner(moved / "t.onnx")


@pytest.mark.usefixtures("low_limit")
def test_truncated_weights_are_refused(tmp_path: Path) -> None:
    result = export_module(lively(), heatmap_spec(), tmp_path / "t.onnx", people())
    assert result.data is not None
    content = result.data.read_bytes()
    result.data.write_bytes(content[: len(content) // 2])
    with pytest.raises(GraphError, match="cannot load"):
        OnnxRunner(result.path)


def fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise GraphError("no")

    monkeypatch.setattr(artefact, "_check_batches", refuse)


@pytest.mark.usefixtures("low_limit")
def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(monkeypatch)
    with pytest.raises(GraphError):
        export_module(lively(), heatmap_spec(), tmp_path / "t.onnx", people())
    assert left_in(tmp_path) == []


@pytest.mark.usefixtures("low_limit")
def test_other_poses_leave_nothing(tmp_path: Path) -> None:
    limits = ParityLimits(
        median_px=-1,
        p99_px=0.1,
        moved_share=0,
        oks_mean=1,
        oks_min=1,
        tensor_p99=1,
        noise=1e-5,
        decided_share=0,
    )
    with pytest.raises(ParityError):
        export_module(lively(), heatmap_spec(), tmp_path / "t.onnx", people(), limits=limits)
    assert left_in(tmp_path) == []


@pytest.mark.usefixtures("low_limit")
@pytest.mark.parametrize("change", [lambda: lively(1), lively])
def test_an_older_pair_outlives_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[], TinyHeatmaps]
) -> None:
    """Also where the new weights are the old ones, and so their file is the same."""
    out = tmp_path / "t.onnx"
    export_module(lively(), heatmap_spec(), out, people())
    before = left_in(tmp_path)
    with OnnxRunner(out) as runner:
        expected = runner.infer(IMAGES)
    with monkeypatch.context() as patch:
        fail(patch)
        with pytest.raises(GraphError):
            export_module(change(), heatmap_spec(), out, people())
    assert left_in(tmp_path) == before
    with OnnxRunner(out) as runner:
        np.testing.assert_array_equal(runner.infer(IMAGES)["heatmaps"], expected["heatmaps"])


def test_a_newer_graph_takes_the_older_ones_weights_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "t.onnx"
    (tmp_path / "t.onnx.notes.data").write_text("not ours")
    (tmp_path / "other.onnx.0123456789abcdef.data").write_text("of another graph")
    others = left_in(tmp_path)
    with monkeypatch.context() as patch:
        lower(patch)
        first = export_module(lively(), heatmap_spec(), out, people())
        second = export_module(lively(1), heatmap_spec(), out, people())
    assert first.data is not None
    assert second.data is not None
    assert first.data != second.data
    assert left_in(tmp_path) == sorted([*others, "t.onnx", second.data.name])
    third = export_module(lively(2), heatmap_spec(), out, people())
    assert third.data is None
    assert left_in(tmp_path) == sorted([*others, "t.onnx"])


@pytest.mark.usefixtures("low_limit")
def test_nothing_large_goes_through_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simplifier and the checker see the graph without its weights."""
    seen: list[int] = []
    honest = onnx.checker.check_model

    def watch(model: onnx.ModelProto, **options: bool) -> None:
        seen.append(len(model.SerializeToString()))
        honest(model, **options)

    monkeypatch.setattr(onnx.checker, "check_model", watch)
    model = trace(lively(), torch.zeros(3, *SIZE))
    assert sum(len(i.raw_data) for i in model.graph.initializer) > 10_000
    assert 0 < max(seen) < 10_000


def test_the_graph_is_the_same_with_and_without_setting_aside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = trace(lively(), torch.zeros(3, *SIZE))
    monkeypatch.setattr(large, "LARGE", 5_000)
    monkeypatch.setattr(large, "HEAVY", 1_000)
    light = trace(lively(), torch.zeros(3, *SIZE))
    assert [n.op_type for n in light.graph.node] == [n.op_type for n in plain.graph.node]
    assert [i.name for i in light.graph.input] == ["images"]

    def weights(model: onnx.ModelProto) -> list[bytes]:
        return sorted(i.raw_data for i in model.graph.initializer)

    assert weights(light) == weights(plain)
