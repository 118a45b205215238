"""RAPL and NVML: counters of energy."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgepose.bench.power.gpu import GpuMeter
from edgepose.bench.power.rapl import RaplMeter
from edgepose.errors import DeviceError
from edgepose.nvml import Nvml
from tests import boards
from tests.fake_nvml import TEGRA, Card, Library

ENERGY = "/sys/class/powercap/intel-rapl:0/energy_uj"


def test_a_ryzens_counter_goes_round(tmp_path: Path) -> None:
    pc = boards.machine(tmp_path, boards.RYZEN)
    meter = RaplMeter(pc)
    assert meter.rails == meter.total == ("package-0",)
    assert meter.read() == {"package-0": 0.0}
    boards.set_file(pc, ENERGY, "65532500000")
    assert meter.read() == {"package-0": 0.5}
    boards.set_file(pc, ENERGY, "1389013")  # 0.110987 J to the end of the range, then these
    assert meter.read() == {"package-0": pytest.approx(2.0)}
    boards.set_file(pc, ENERGY, "2389013")
    assert meter.read() == {"package-0": pytest.approx(3.0)}


def test_two_sockets_and_no_psys(tmp_path: Path) -> None:
    pc = boards.machine(tmp_path, boards.INTEL)
    meter = RaplMeter(pc)
    assert meter.total == ("package-0", "package-1")
    boards.set_file(pc, ENERGY, "3000000")
    assert meter.read() == {"package-0": 2.0, "package-1": 0.0}


def test_a_counter_for_root_alone(tmp_path: Path) -> None:
    with pytest.raises(DeviceError) as caught:
        RaplMeter(boards.machine(tmp_path, boards.RYZEN, forbidden=[ENERGY]))
    assert "may not be read by this user (since Linux 5.10 root alone may)" in str(caught.value)
    assert f"sudo chmod a+r {ENERGY}" in str(caught.value)


def test_no_counter(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="a virtual machine, a container that hides it"):
        RaplMeter(boards.machine(tmp_path, boards.CONTAINER))


def test_a_counter_that_goes_away_or_round_at_an_unknown_figure(tmp_path: Path) -> None:
    pc = boards.machine(tmp_path, boards.RYZEN)
    meter = RaplMeter(pc)
    (tmp_path / "sys/class/powercap/intel-rapl:0/max_energy_range_uj").unlink()
    boards.set_file(pc, ENERGY, "5")
    with pytest.raises(DeviceError, match="went round at an unknown figure"):
        meter.read()
    (tmp_path / ENERGY.lstrip("/")).unlink()
    with pytest.raises(DeviceError, match="energy_uj is not there"):
        meter.read()


def test_an_h100_counts_its_energy() -> None:
    card = Card(millijoules=lambda: 304_675_237_548)
    meter = GpuMeter(Nvml(Library(card)).gpu(0))
    assert (meter.unit, meter.total) == ("joules", ("GPU 0 NVIDIA H100 80GB HBM3",))
    assert meter.read() == {"GPU 0 NVIDIA H100 80GB HBM3": 304_675_237.548}
    assert "MIG" not in meter.scope


def test_an_older_card_tells_its_power() -> None:
    card = Card(name="Tesla P4", millijoules=None, milliwatts=22_750, mig=None)
    meter = GpuMeter(Nvml(Library(card)).gpu(0))
    assert meter.unit == "watts"
    assert meter.read() == {"GPU 0 Tesla P4": 22.75}


def test_a_divided_card_says_so() -> None:
    assert "with all instances" in GpuMeter(Nvml(Library(Card(mig=1))).gpu(0)).scope


def test_a_jetsons_library_is_no_meter() -> None:
    with pytest.raises(DeviceError, match="nvmlDeviceGetPowerUsage failed"):
        GpuMeter(Nvml(Library(TEGRA)).gpu(0))
