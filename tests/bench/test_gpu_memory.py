"""GPU memory, told by a stand-in for the driver's libraries."""

from __future__ import annotations

import os
from typing import Any

import pytest

from edgepose.bench import gpu_memory
from edgepose.bench.gpu_memory import GpuGauge
from edgepose.errors import DeviceError
from edgepose.nvml import Nvml

MIB = 2**20
BUS = b"00000000:65:00.0"


class Driver:
    """NVML and CUDA of one GPU; ``processes`` are the number and bytes of those that hold some."""

    def __init__(self, used: int, processes: list[tuple[int, int]]) -> None:
        self.used, self.processes = used, processes

    def nvmlInit_v2(self) -> int:
        return 0

    def nvmlDeviceGetHandleByPciBusId_v2(self, bus: bytes, handle: Any) -> int:
        return 0 if bus == BUS else 6

    def nvmlDeviceGetMemoryInfo(self, handle: Any, memory: Any) -> int:
        memory._obj.used = self.used
        return 0

    def nvmlDeviceGetComputeRunningProcesses_v3(self, handle: Any, count: Any, found: Any) -> int:
        count._obj.value = len(self.processes)
        for one, (pid, used) in zip(found, self.processes, strict=False):
            one.pid, one.used = pid, used
        return 0

    def cuInit(self, flags: int) -> int:
        return 0

    def cuDeviceGet(self, device: Any, index: int) -> int:
        return 0 if index == 1 else 101

    def cuDeviceGetPCIBusId(self, name: Any, length: int, device: Any) -> int:
        name.value = BUS
        return 0


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    one = Driver(500 * MIB, [(1, 400 * MIB)])
    monkeypatch.setattr(gpu_memory, "open_nvml", lambda: (Nvml(one), ""))
    monkeypatch.setattr(gpu_memory.ctypes, "CDLL", lambda name: one)
    return one


def test_the_drivers_figure_for_the_process_is_taken(driver: Driver) -> None:
    gauge = GpuGauge(1)
    driver.used += 900 * MIB  # of others as well
    driver.processes.append((os.getpid(), 300 * MIB))
    assert gauge.used() == 300 * MIB
    assert "this process" in gauge.how
    driver.processes.pop()
    assert gauge.used() == 0


@pytest.mark.parametrize("listed", [[], [(os.getpid(), gpu_memory._UNKNOWN)]])
def test_where_it_has_none_the_growth_of_the_gpu_is(
    driver: Driver, listed: list[tuple[int, int]]
) -> None:
    gauge = GpuGauge(1)
    driver.used += 200 * MIB
    driver.processes += listed
    assert gauge.used() == 200 * MIB
    assert "whole GPU" in gauge.how
    driver.used = 0
    assert gauge.used() == 0


def test_another_process_of_the_same_number_is_not_taken_for_this_one(driver: Driver) -> None:
    """Outside of a container numbers are others: this process holds nothing before it begins."""
    driver.processes.append((os.getpid(), 300 * MIB))
    gauge = GpuGauge(1)
    driver.used += 100 * MIB
    assert gauge.used() == 100 * MIB


def test_a_driver_that_does_not_tell_is_named(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DeviceError, match="cuDeviceGet failed with error 101"):
        GpuGauge(0)
    monkeypatch.setattr(gpu_memory, "open_nvml", lambda: (None, "no NVIDIA driver"))
    with pytest.raises(DeviceError, match="no NVIDIA driver"):
        GpuGauge(1)
