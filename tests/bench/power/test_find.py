"""Which meters each kind of machine has, and the words about the others."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgepose.bench.power import find_meters
from tests import boards
from tests.bench.power.test_jetson_meters import LINES, jtop_module, script
from tests.fake_nvml import TEGRA, Card, Library, none_here, opener


@pytest.fixture(autouse=True)
def no_tools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "jtop", None)


def test_a_jetson_has_its_boards_monitor_alone(tmp_path: Path) -> None:
    board = boards.machine(tmp_path, boards.ORIN_NANO)
    with find_meters(board, opener(Library(TEGRA))) as found:
        assert [meter.name for meter in found.meters] == ["INA3221"]
        assert found.tried == ()


def test_in_a_jetsons_container_the_tools_step_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {path: text for path, text in boards.ORIN_NANO.items() if "hwmon" not in path}
    board = boards.machine(tmp_path, files)
    line = LINES["Orin Nano, JetPack 6"][0]
    jtop_module(monkeypatch, {"rail": {}, "tot": {"power": 4954, "avg": 0, "name": "VDD_IN"}})
    with find_meters(board, none_here) as found:
        assert [meter.name for meter in found.meters] == ["jetson-stats"]
        assert [tried.meter for tried in found.tried] == ["INA3221", "tegrastats"]
    script(tmp_path, f"while True:\n    print({line!r}, flush=True)\n    time.sleep(0.02)")
    with find_meters(board, none_here) as found:
        [meter] = found.meters
        assert meter.name == "tegrastats"
        assert meter.read()["VDD_IN"] == 4.954


def test_a_jetson_that_tells_nothing(tmp_path: Path) -> None:
    files = {path: text for path, text in boards.ORIN_NANO.items() if "hwmon" not in path}
    found = find_meters(boards.machine(tmp_path, files), opener(Library(TEGRA)))
    assert found.meters == ()
    assert [tried.meter for tried in found.tried] == ["INA3221", "tegrastats", "jetson-stats"]
    assert found.why_none.startswith("power is not readable here, because no meter tells it: ")
    assert "jetson-stats is not installed" in found.why_none


def test_a_pc_with_a_gpu_has_two(tmp_path: Path) -> None:
    library = Library(Card("NVIDIA GeForce RTX 4070"))
    with find_meters(boards.machine(tmp_path, boards.RYZEN), opener(library)) as found:
        assert [meter.name for meter in found.meters] == ["RAPL", "NVML"]
        assert [tried.meter for tried in found.tried] == ["INA3221, tegrastats, jetson-stats"]
        assert library.open == 1
    assert library.open == 0


def test_a_pc_whose_counter_is_for_root(tmp_path: Path) -> None:
    energy = "/sys/class/powercap/intel-rapl:0/energy_uj"
    pc = boards.machine(tmp_path, boards.RYZEN, forbidden=[energy])
    found = find_meters(pc, none_here)
    assert found.meters == ()
    assert f"Next: sudo chmod a+r {energy}" in found.tried[0].why
    assert "no NVIDIA driver" in found.tried[1].why


def test_a_container_with_nothing(tmp_path: Path) -> None:
    found = find_meters(boards.machine(tmp_path, boards.CONTAINER), none_here)
    assert found.meters == ()
    assert [tried.meter for tried in found.tried] == [
        "RAPL",
        "NVML",
        "INA3221, tegrastats, jetson-stats",
    ]


def test_gpus_that_are_not_to_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = find_meters(boards.machine(tmp_path, boards.CONTAINER), opener(Library(Card())))
    assert found.meters == ()
    assert "CUDA_VISIBLE_DEVICES none" in found.tried[1].why
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    library = Library(Card("NVIDIA T400", "GPU-a"), Card("NVIDIA L4", "GPU-b"))
    found = find_meters(boards.machine(tmp_path, boards.CONTAINER), opener(library))
    assert "Next: set CUDA_DEVICE_ORDER=PCI_BUS_ID" in found.tried[1].why
    found.close()
    assert library.open == 0


def test_one_gpu_of_two_that_tells(tmp_path: Path) -> None:
    library = Library(Card(uuid="GPU-a"), Card(uuid="GPU-b", milliwatts=None, millijoules=None))
    with find_meters(boards.machine(tmp_path, boards.CONTAINER), opener(library)) as found:
        assert [meter.rails for meter in found.meters] == [("GPU 0 NVIDIA H100 80GB HBM3",)]
        assert found.tried[1].meter == "NVML of GPU 1"


def test_this_machine() -> None:
    with find_meters() as found:
        for meter in found.meters:
            assert set(meter.read()) == set(meter.rails) >= set(meter.total)
        if not found.meters:
            assert all(tried.why for tried in found.tried)
