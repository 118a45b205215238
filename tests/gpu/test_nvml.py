"""What a real driver tells of its GPU."""

from __future__ import annotations

import pytest

from edgepose.errors import DeviceError
from edgepose.nvml import open_nvml


def test_a_gpu_tells_its_state() -> None:
    opened, why = open_nvml()
    assert opened is not None, why
    with opened:
        gpu = opened.visible_gpus()[0]
        assert gpu.name()
        try:
            gpu.watts()
        except DeviceError:
            pytest.skip(f"the library tells nothing of {gpu.name()}, as on a Jetson")
        assert gpu.used_bytes() > 0
        assert 0 < gpu.clocks_mhz()["graphics"] <= gpu.highest_clocks_mhz()["graphics"] + 50
        assert 1 < gpu.watts() < 2000
        assert gpu.joules() > 0
        assert gpu.state().startswith("P")
        assert isinstance(gpu.slowdowns(), list)
        assert min(gpu.held_seconds().values()) >= 0
