from __future__ import annotations

from pathlib import Path

import pytest

from edgepose.bench.cost import engine_cost, onnx_cost, sources
from edgepose.errors import EngineError, MissingDependency
from edgepose.trt import sidecar
from edgepose.zoo import sha256_of
from tests.fakes import heatmap_spec, write_tiny_onnx
from tests.trt.engines import make_sidecar


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A 4x4 kernel for each of 16 x 12 cells, 17 x 3 channels."""
    return write_tiny_onnx(tmp_path / "made" / "pose.onnx", heatmap_spec())


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()


def engine_of(source: Path, folder: Path) -> Path:
    engine = folder / "pose.engine"
    engine.write_bytes(b"engine")
    made = make_sidecar(b"engine", onnx=str(source), onnx_sha256=sha256_of(source))
    sidecar.write(made, engine)
    return engine


def test_an_engine_costs_what_its_source_does(source: Path, tmp_path: Path) -> None:
    cost = engine_cost(engine_of(source, tmp_path))
    assert cost.gmacs == 17 * 16 * 12 * 48 / 1e9
    assert cost.counted_on == "onnx"


def test_the_source_may_lie_beside_the_engine(source: Path, tmp_path: Path) -> None:
    engine = engine_of(source, tmp_path)
    source.rename(tmp_path / "pose.onnx")
    assert engine_cost(engine).gmacs > 0


def test_a_source_that_is_gone_or_another_is_told(source: Path, tmp_path: Path) -> None:
    engine = engine_of(source, tmp_path)
    write_tiny_onnx(source, heatmap_spec(), keypoints=3)
    with pytest.raises(EngineError, match=r"pose\.onnx has changed since\n.*put the pose\.onnx"):
        engine_cost(engine)
    source.unlink()
    with pytest.raises(EngineError, match="neither where it was nor beside the engine"):
        engine_cost(engine)


def test_without_the_export_extra_the_way_to_it_is_told(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sources.__dict__, "require", refuse)
    with pytest.raises(MissingDependency, match=r"edgepose\[export\]"):
        onnx_cost(source)


def refuse(module: str, extra: str) -> None:
    raise MissingDependency(f"needs {module}", None, f'pip install "edgepose[{extra}]"')
