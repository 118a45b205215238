"""A Jetson's rails by its three tellers."""

from __future__ import annotations

import sys
import time
import types
from pathlib import Path
from typing import Any

import pytest

from edgepose.bench.power.ina import InaMeter
from edgepose.bench.power.jetson_stats import JtopMeter
from edgepose.bench.power.rails import total_of
from edgepose.bench.power.tegrastats import TegrastatsMeter, rails_in
from edgepose.errors import DeviceError
from tests import boards

LINES = {
    "Orin Nano, JetPack 6": (
        "12-27-2025 19:10:22 RAM 2823/7620MB (lfb 10x4MB) SWAP 126/3810MB (cached 0MB) CPU "
        "[4%@1190,0%@1190,off,off,2%@729,1%@729] EMC_FREQ 0%@3199 GR3D_FREQ 0%@[305] NVDEC off "
        "cpu@47.25C tj@49.5C VDD_IN 4954mW/4900mW VDD_CPU_GPU_CV 597mW/597mW VDD_SOC 1514mW/1510mW",
        {"VDD_IN": 4.954, "VDD_CPU_GPU_CV": 0.597, "VDD_SOC": 1.514},
        ("VDD_IN",),
    ),
    "AGX Orin, JetPack 5": (
        "11-21-2025 08:49:48 RAM 13983/62780MB (lfb 424x4MB) SWAP 126/31390MB (cached 0MB) CPU "
        "[90%@2201,100%@2201] EMC_FREQ 1%@2133 GR3D_FREQ 14%@[407,407] VIC_FREQ 115 NVDLA0_FREQ "
        "@1600 APE 174 CV0@73.625C tj@77.281C VDD_GPU_SOC 3150mW/2971mW VDD_CPU_CV 14312mW/12415mW "
        "VIN_SYS_5V0 4968mW/5048mW NC 0mW/0mW VDDQ_VDD2_1V8AO 1091mW/1091mW NC 0mW/0mW",
        {
            "VDD_GPU_SOC": 3.15,
            "VDD_CPU_CV": 14.312,
            "VIN_SYS_5V0": 4.968,
            "VDDQ_VDD2_1V8AO": 1.091,
        },
        ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),
    ),
    "Thor, JetPack 7.1": (
        "05-14-2026 21:36:35 RAM 26063/125772MB (lfb 35x4MB) CPU [2%@972,off] VDD_GPU -392mW/-392mW"
        " VDD_CPU_SOC_MSS 3924mW/3835mW VIN_SYS_5V0 5064mW/5055mW VIN 15004mW/15096mW",
        {"VDD_GPU": -0.392, "VDD_CPU_SOC_MSS": 3.924, "VIN_SYS_5V0": 5.064, "VIN": 15.004},
        ("VIN",),
    ),
    "Thor, JetPack 7.2": (
        "08-08-2026 21:00:39 RAM 8353/125749MB (lfb 31x4MB) CPU [90%@2601,75%@2601,off] EMC_FREQ "
        "34%@4266 GR3D_FREQ 87%@[1574,1574,1574] NVENC0_FREQ @1691 VIC off cpu@58.25C/61.75C "
        "VDD_GPU 37939mW/8660mW/37939mW VDD_CPU_SOC_MSS 30059mW/12281mW/30059mW VIN_SYS_5V0 "
        "15486mW/7424mW/15486mW VIN 124486mW/36487mW/124486mW",
        {"VDD_GPU": 37.939, "VDD_CPU_SOC_MSS": 30.059, "VIN_SYS_5V0": 15.486, "VIN": 124.486},
        ("VIN",),
    ),
}


@pytest.mark.parametrize("board", LINES)
def test_lines_of_tegrastats(board: str) -> None:
    line, rails, total = LINES[board]
    assert rails_in(line) == rails
    assert total_of(rails).rails == total


def test_a_line_without_rails() -> None:
    assert rails_in("RAM 1985/7765MB (lfb 107x4MB) CPU [9%@1420] GR3D_FREQ 0% APE 150") == {}


def test_the_whole_is_never_added_to_its_parts(tmp_path: Path) -> None:
    meter = InaMeter(boards.machine(tmp_path, boards.ORIN_NANO))
    assert meter.name == "INA3221"
    assert meter.rails == ("VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC")
    assert meter.total == ("VDD_IN",)
    assert meter.settle_s == 0.86  # twice the interval that the chip states
    assert meter.read() == {
        "VDD_IN": pytest.approx(7.62432),
        "VDD_CPU_GPU_CV": pytest.approx(2.083328),
        "VDD_SOC": pytest.approx(2.40384),
    }


def test_agx_orin_has_two_chips_and_no_rail_of_the_whole(tmp_path: Path) -> None:
    meter = InaMeter(boards.machine(tmp_path, boards.AGX_ORIN))
    read = meter.read()
    assert set(read) == {"VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"}
    assert sum(read[rail] for rail in meter.total) == pytest.approx(
        3.249 + 14.334 + 4.968, abs=2e-3
    )


def test_thors_input_is_measured_by_another_chip(tmp_path: Path) -> None:
    meter = InaMeter(boards.machine(tmp_path, boards.THOR))
    read = meter.read()
    assert meter.name == "INA3221 and INA238"
    assert meter.total == ("VIN",)
    assert read["VIN"] == 15.004
    assert read["VDD_GPU"] == pytest.approx(-0.38528)


def test_a_thor_on_a_carrier_without_that_chip(tmp_path: Path) -> None:
    files = {path: text for path, text in boards.THOR.items() if "hwmon6" not in path}
    meter = InaMeter(boards.machine(tmp_path, files))
    assert meter.total == ("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0")
    assert "carrier board is not in them" in meter.scope


def test_rails_of_a_board_that_is_not_known(tmp_path: Path) -> None:
    files = boards.chip(0, "ina3221", {1: ("VDD_A", 5000, 1), 2: ("VDD_B", 5000, 1)})
    with pytest.raises(DeviceError, match=r"VDD_A, VDD_B, and which of them contain others"):
        InaMeter(boards.machine(tmp_path, files))


def test_no_chip_and_a_chip_that_falls_silent(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="no chip in /sys/class/hwmon"):
        InaMeter(boards.machine(tmp_path / "none", boards.RYZEN))
    board = boards.machine(tmp_path, boards.ORIN_NANO)
    meter = InaMeter(board)
    (tmp_path / "sys/class/hwmon/hwmon1/in1_input").unlink()
    with pytest.raises(DeviceError, match=r"VDD_IN gives no figure: .*/in1_input is not there"):
        meter.read()
    chip = "/sys/class/hwmon/hwmon1"
    mute = [f"{chip}/in{channel}_input" for channel in (1, 2, 3)]
    with pytest.raises(DeviceError, match="may not be read by this user"):
        InaMeter(boards.machine(tmp_path / "mute", boards.ORIN_NANO, forbidden=mute))


def script(folder: Path, text: str) -> list[str]:
    path = folder / "tegrastats"
    path.write_text(f"#!{sys.executable}\nimport sys, time\n{text}\n")
    path.chmod(0o755)
    return [str(path)]


def test_a_running_tegrastats(tmp_path: Path) -> None:
    line, rails, total = LINES["Orin Nano, JetPack 6"]
    command = script(
        tmp_path, f"while True:\n    print({line!r}, flush=True)\n    time.sleep(0.02)"
    )
    meter = TegrastatsMeter(command)
    try:
        assert meter.read() == rails
        assert meter.total == total
        process = meter._process
        assert process.poll() is None
    finally:
        meter.close()
    assert process.poll() is not None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sys.exit(3)", "it ended with exit code 3"),
        ("print('no power here', flush=True); time.sleep(60)", "its line names no rail"),
        ("print('VDD_X 1mW/1mW', flush=True); time.sleep(60)", "which of them contain others"),
    ],
)
def test_a_tegrastats_that_does_not_tell(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=words):
        TegrastatsMeter(script(tmp_path, text))


def test_a_tegrastats_that_stops_and_none_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgepose.bench.power.tegrastats._STALE_S", 0.05)
    line = LINES["Thor, JetPack 7.1"][0]
    meter = TegrastatsMeter(script(tmp_path, f"print({line!r}, flush=True); time.sleep(0.3)"))
    meter._process.wait(10)
    meter._reader.join(10)
    time.sleep(0.06)
    with pytest.raises(DeviceError, match="it ended with exit code 0"):
        meter.read()
    meter.close()
    with pytest.raises(DeviceError, match="cannot be run"):
        TegrastatsMeter([str(tmp_path / "absent")])


def jtop_module(monkeypatch: pytest.MonkeyPatch, power: Any, **fails: Any) -> type:
    class jtop:
        def __init__(self, interval: float) -> None:
            self.closed = False

        def start(self) -> None:
            if "start" in fails:
                raise fails["start"]

        def ok(self, spin: bool = False) -> bool:
            return not fails.get("ended")

        @property
        def power(self) -> Any:
            return power

        def close(self) -> None:
            self.closed = True

    monkeypatch.setitem(sys.modules, "jtop", types.SimpleNamespace(jtop=jtop))  # type: ignore[arg-type]
    return jtop


def test_jetson_stats(monkeypatch: pytest.MonkeyPatch) -> None:
    rail = {"VDD_CPU_GPU_CV": {"power": 597, "avg": 600}, "VDD_SOC": {"power": 1514, "avg": 1}}
    whole = {"power": 4954, "avg": 4900, "name": "VDD_IN"}
    jtop_module(monkeypatch, {"rail": rail, "tot": whole})
    meter = JtopMeter()
    assert meter.total == ("VDD_IN",)
    assert meter.read() == {"VDD_CPU_GPU_CV": 0.597, "VDD_SOC": 1.514, "VDD_IN": 4.954}
    meter.close()
    assert meter._jtop.closed


def test_the_total_of_jetson_stats_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    rails = LINES["AGX Orin, JetPack 5"][1]
    rail = {name: {"power": int(watts * 1e3), "avg": 0} for name, watts in rails.items()}
    jtop_module(monkeypatch, {"rail": rail, "tot": {"power": 23_521, "avg": 0}})
    meter = JtopMeter()
    assert sum(meter.read()[name] for name in meter.total) == pytest.approx(22.43)


def test_jetson_stats_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jtop", None)
    with pytest.raises(DeviceError, match="jetson-stats is not installed"):
        JtopMeter()
    jtop_module(monkeypatch, {}, start=RuntimeError("The jtop.service is not active."))
    with pytest.raises(DeviceError, match="service is not active"):
        JtopMeter()
    jtop_module(monkeypatch, {"rail": {}, "tot": {}}, ended=True)
    with pytest.raises(DeviceError, match="its service has ended"):
        JtopMeter()
    jtop_module(monkeypatch, ({"cur": 1, "avg": 1}, {}))  # as version 3 gave it
    with pytest.raises(DeviceError, match="version 4 or later"):
        JtopMeter()
