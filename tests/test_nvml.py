"""The binding against an object that fills what ctypes hands it, as the library does."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from edgepose import nvml
from edgepose.errors import DeviceError
from edgepose.nvml import Nvml, open_nvml
from tests.fake_nvml import TEGRA, Card, Library

A, B = "GPU-aaaa0000-1", "GPU-bbbb0000-2"


def test_what_a_gpu_tells() -> None:
    library = Library(Card(reasons=0x1 | 0x4 | 0x40, violations_ns={0: 2_500_000_000, 1: 10**9}))
    with Nvml(library) as opened:
        [gpu] = opened.gpus()
        assert opened.driver() == "580.95.05"
        assert gpu.name() == "NVIDIA H100 80GB HBM3"
        assert gpu.uuid().startswith("GPU-5e3f")
        assert gpu.used_bytes() == 2**30
        assert gpu.clocks_mhz() == {"graphics": 1980, "memory": 2619}
        assert gpu.highest_clocks_mhz()["memory"] == 2619
        assert gpu.celsius() == 41
        assert gpu.state() == "P0"
        assert gpu.slowdowns() == ["the power limit", "heat (the hardware slows it down)"]
        assert gpu.held_seconds() == {"power": 2.5, "heat": 1.0}
        assert gpu.watts() == 118.4
        assert gpu.limit_watts() == 700.0
        assert gpu.joules() == 5_000_000.0
        assert not gpu.divided()
        assert library.open == 1
    assert library.open == 0


def test_a_jetsons_library_tells_next_to_nothing() -> None:
    [gpu] = Nvml(Library(TEGRA)).gpus()
    assert gpu.name() == "Orin (nvgpu)"
    asked = (gpu.watts, gpu.joules, gpu.celsius, gpu.clocks_mhz, gpu.slowdowns, gpu.used_bytes)
    for ask in (*asked, gpu.held_seconds):
        with pytest.raises(DeviceError, match="does not support it"):
            ask()
    assert not gpu.divided()


def test_no_such_gpu_and_no_such_function() -> None:
    opened = Nvml(Library(Card()))
    with pytest.raises(DeviceError, match="there is no such GPU"):
        opened.gpu(1)
    with pytest.raises(DeviceError, match=r"nvmlOfTomorrow failed.*does not have it"):
        opened.call("nvmlOfTomorrow")


@pytest.mark.parametrize(
    ("environment", "chosen"),
    [
        ({}, [0, 1]),
        ({"CUDA_VISIBLE_DEVICES": "1"}, [1]),
        ({"CUDA_VISIBLE_DEVICES": "1, 0"}, [1, 0]),
        ({"CUDA_VISIBLE_DEVICES": ""}, []),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, []),
        ({"CUDA_VISIBLE_DEVICES": "0,7,1"}, [0]),
        ({"CUDA_VISIBLE_DEVICES": A}, [0]),
        ({"CUDA_VISIBLE_DEVICES": "GPU-bbbb"}, [1]),
    ],
)
def test_the_gpus_that_cuda_may_use(environment: dict[str, str], chosen: list[int]) -> None:
    opened = Nvml(Library(Card(uuid=A), Card(uuid=B)))
    assert [gpu.index for gpu in opened.visible_gpus(environment)] == chosen


def test_different_gpus_are_numbered_differently() -> None:
    """CUDA's 0 is the fastest, NVML's the first slot: the number alone does not tell which."""
    opened = Nvml(Library(Card("NVIDIA T400", A), Card("NVIDIA GeForce RTX 4090", B)))
    with pytest.raises(DeviceError, match="CUDA_DEVICE_ORDER=PCI_BUS_ID"):
        opened.visible_gpus({"CUDA_VISIBLE_DEVICES": "0"})
    [gpu] = opened.visible_gpus({"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"})
    assert gpu.name() == "NVIDIA T400"
    assert [gpu.index for gpu in opened.visible_gpus({"CUDA_VISIBLE_DEVICES": B})] == [1]


def test_no_library_and_no_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(nvml, "_LIBRARY", str(tmp_path / "libnvidia-ml.so.1"))
    opened, why = open_nvml()
    assert opened is None
    assert "libnvidia-ml.so.1 is not here" in why
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library(init=18))
    opened, why = open_nvml()
    assert opened is None
    assert "restart the machine" in why
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library(Card()))
    opened, why = open_nvml()
    assert opened is not None and not why
