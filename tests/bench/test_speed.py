"""Whether a precision is said to pay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepose.bench import speed
from edgepose.bench.speed import Speed, compare_speed
from edgepose.bench.timing import Samples
from tests.fakes import heatmap_spec, write_tiny_onnx


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_tiny_onnx(tmp_path / "tiny.onnx", heatmap_spec())


@pytest.mark.parametrize(("ours_ms", "pays"), [(1.0, True), (2.0, False), (3.0, False)])
def test_it_pays_where_it_is_faster_beyond_doubt(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, ours_ms: float, pays: bool
) -> None:
    calls: list[str] = []

    def timed(cells: Any, schedule: Any) -> dict[str, Samples]:
        for cell in cells:
            cell.call()  # the graphs take what they are fed
            calls.append(cell.name)
        return {"contender": np.full((6, 3), ours_ms), "baseline": np.full((6, 3), 2.0)}

    monkeypatch.setattr(speed, "measure", timed)
    found = compare_speed(tiny, tiny, batch=2)
    assert calls == ["contender", "baseline"]
    assert found.ratio == pytest.approx(ours_ms / 2)
    assert found.pays is pays
    assert found.to_dict()["pays"] is pays
    assert found.batch == 2
    assert found.runtime.startswith("onnxruntime ")


def test_an_interval_around_one_decides_nothing() -> None:
    wide = Speed(
        ratio=0.9, low=0.7, high=1.05, batch=1, threads=None, cpu=None, runtime="onnxruntime"
    )
    assert not wide.pays
