from __future__ import annotations

from pathlib import Path

import pytest

from edgepose.engine import preflight
from edgepose.errors import DeviceError

GIB = 2**30


def test_memory_of_this_machine() -> None:
    free = preflight.available_memory()
    assert free is None or 2**20 < free < 2**50


def test_memory_of_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert preflight._container_left(tmp_path) is None
    (tmp_path / "memory.current").write_text(f"{3 * GIB}\n")
    (tmp_path / "memory.stat").write_text(f"anon 5\ninactive_file {GIB}\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert preflight._container_left(tmp_path) is None
    (tmp_path / "memory.max").write_text(f"{4 * GIB}\n")
    assert preflight._container_left(tmp_path) == 2 * GIB
    monkeypatch.setattr(preflight, "_mem_available", lambda: 8 * GIB)
    monkeypatch.setattr(preflight, "_container_left", lambda: 2 * GIB)
    assert preflight.available_memory() == 2 * GIB
    monkeypatch.setattr(preflight, "_mem_available", lambda: None)
    monkeypatch.setattr(preflight, "_container_left", lambda: None)
    assert preflight.available_memory() is None
    assert preflight.check_memory("tensorrt", 2**40) is None  # a system that does not say


# Peak memory of TensorRT-RTX on CPU, from the record of all models; the engine is the graph's size.
@pytest.mark.parametrize(
    ("engine", "peak"),
    [
        (28141100, 381677568),
        (102858556, 641773568),
        (254776564, 1019609088),
        (378084580, 1497157632),
        (1275539004, 4329508864),
    ],
)
def test_the_estimate_is_what_was_measured(
    engine: int, peak: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = preflight._NEEDS["tensorrt-rtx"].needed(engine)
    assert peak < needed * 1.1
    assert needed < peak * 1.35
    monkeypatch.setattr(preflight, "available_memory", lambda: int(peak * 1.4))
    assert preflight.check_memory("tensorrt-rtx", engine) is None
    monkeypatch.setattr(preflight, "available_memory", lambda: peak // 3)
    with pytest.raises(DeviceError, match="not enough memory"):
        preflight.check_memory("tensorrt-rtx", engine)
