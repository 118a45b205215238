from __future__ import annotations

from pathlib import Path

from edgepose import sensors
from tests import boards


def test_an_orin_nano(tmp_path: Path) -> None:
    board = boards.machine(tmp_path, boards.ORIN_NANO, boards.ORIN_NANO_TOOLS)
    assert sensors.power_mode(board) == sensors.PowerMode("25W", 1)
    clock = sensors.gpu_clock(board)
    assert clock is not None
    assert (clock.hertz, clock.high, clock.fixed) == (306_000_000, 1_020_000_000, False)
    celsius, silent = sensors.temperatures(board)
    assert celsius == {"cpu-thermal": 48.718, "gpu-thermal": 49.343}
    assert silent == ["cv0-thermal"]
    assert sensors.throttle_alerts(board) == {"cpu": 0}
    assert sensors.cooling_devices(board) == {"cpu-throttle-alert": 0}  # and no fan
    assert sensors.cooling_changes(board) == {"cpu-throttle-alert": 4}


def test_a_pc(tmp_path: Path) -> None:
    pc = boards.machine(tmp_path, boards.INTEL)
    assert sensors.power_mode(pc) is None
    assert sensors.gpu_clock(pc) is None
    celsius, silent = sensors.temperatures(pc)
    assert celsius == {"x86_pkg_temp": 52.0, "coretemp Package id 0": 52.0}
    assert silent == []
    assert sensors.cooling_devices(pc) == {"Processor": 0}
    boards.set_file(pc, "/sys/class/thermal/cooling_device0/cur_state", "3")
    assert sensors.cooling_devices(pc) == {"Processor": 3}


def test_two_sensors_of_one_name_and_one_without_sense(tmp_path: Path) -> None:
    files = {}
    for number, (name, value) in enumerate(
        [("acpitz", 27_800), ("acpitz", 31_000), ("x", -40_000)]
    ):
        files[f"/sys/class/thermal/thermal_zone{number}/type"] = f"{name}\n"
        files[f"/sys/class/thermal/thermal_zone{number}/temp"] = f"{value}\n"
    found = sensors.temperatures(boards.machine(tmp_path, files))
    assert found == ({"acpitz": 27.8, "acpitz #2": 31.0}, ["x"])
