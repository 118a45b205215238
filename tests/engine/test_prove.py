"""An engine and its verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepose.engine import build_and_prove, prove
from edgepose.engine.build import BuiltEngine
from edgepose.errors import DeviceError, ParityError
from edgepose.spec import PoseSpec
from edgepose.trt import sidecar as sidecars
from edgepose.trt.gpu import Gpu
from tests.engine import graphs
from tests.export.tiny import people
from tests.fakes import FakeRunner, brightness_maps, heatmap_spec
from tests.trt.engines import GPU, make_sidecar


def trained() -> PoseSpec:
    return heatmap_spec().with_provenance(weights_sha256="ab" * 32)


@pytest.fixture
def onnx(tmp_path: Path) -> Path:
    return graphs.write(tmp_path / "pose.onnx", spec=trained())


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> None:
    """A builder that needs no TensorRT."""

    def build(onnx: Path, out: Path, *_: Any) -> BuiltEngine:
        sidecar = make_sidecar(spec=trained())
        out.write_bytes(b"engine")
        sidecars.write(sidecar, out)
        return BuiltEngine(path=out, sidecar=sidecar, notes=("kind of quick",))

    monkeypatch.setattr(prove, "build_engine", build)


def running(monkeypatch: pytest.MonkeyPatch, gpu: Gpu | None, outputs: Any) -> None:
    monkeypatch.setattr(prove, "find_gpu", lambda: gpu)
    monkeypatch.setattr(prove, "TensorRTRunner", lambda path: FakeRunner(trained(), outputs))
    monkeypatch.setattr(prove, "OnnxRunner", lambda path: FakeRunner(trained(), brightness_maps))


@pytest.mark.usefixtures("built")
def test_without_a_gpu_it_says_that_the_engine_is_not_proven(
    onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running(monkeypatch, None, brightness_maps)
    engine = build_and_prove(onnx, tmp_path / "p.engine", people(2), product="tensorrt-rtx")
    assert engine.parity is None
    assert "is not" in engine.notes[-1]
    assert sidecars.rebuild_command(engine.sidecar, engine.path) in engine.notes[-1]
    assert engine.notes[0] == "kind of quick"
    assert sidecars.read(engine.path).parity is None


@pytest.mark.usefixtures("built")
def test_the_verdict_goes_into_the_sidecar(
    onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running(monkeypatch, GPU, brightness_maps)
    engine = build_and_prove(onnx, tmp_path / "p.engine", people(2))
    assert engine.parity
    parity = sidecars.read(engine.path).parity
    assert parity is not None
    assert parity["passed"] is True
    assert engine.to_dict()["parity"]["passed"] is True


@pytest.mark.usefixtures("built")
def test_an_engine_with_other_poses_is_not_written(
    onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def upside_down(images: np.ndarray) -> dict[str, np.ndarray]:
        return {"heatmaps": brightness_maps(images)["heatmaps"][:, :, ::-1]}

    (tmp_path / "p.engine").write_bytes(b"older")
    running(monkeypatch, GPU, upside_down)
    with pytest.raises(ParityError, match="nothing was written"):
        build_and_prove(onnx, tmp_path / "p.engine", people(2))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p.engine", "pose.onnx"]
    assert (tmp_path / "p.engine").read_bytes() == b"older"


@pytest.mark.usefixtures("built")
def test_so_is_one_that_does_not_run(
    onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(images: np.ndarray) -> dict[str, np.ndarray]:
        raise DeviceError("cuMemAlloc failed")

    running(monkeypatch, GPU, broken)
    with pytest.raises(DeviceError):
        build_and_prove(onnx, tmp_path / "p.engine", people(2))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["pose.onnx"]
