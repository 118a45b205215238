"""Snapshots of whole boards, and what between two of them slowed the board down."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from edgepose.bench.conditions import compare_conditions, conditions_section, snapshot
from edgepose.system import System
from tests import boards
from tests.fake_nvml import TEGRA, Card, Library, none_here, opener


def orin_nano(root: Path, **changed: str) -> System:
    tools = boards.ORIN_NANO_TOOLS | {
        "jetson_clocks": "SOC family:tegra234  Machine:NVIDIA Jetson Orin Nano\n"
        "EMC MinFreq=204000000 MaxFreq=3199000000 CurrentFreq=3199000000 FreqOverride=1\n"
    }
    return boards.machine(root, boards.ORIN_NANO | changed, tools)


def between(before: dict[str, Any], after: dict[str, Any], seconds: float = 60) -> list[str]:
    """What was found, of two snapshots so far apart."""
    later = after | {"monotonic_seconds": before["monotonic_seconds"] + seconds}
    return compare_conditions(before, later)["throttled"]


def test_an_orin_nano(tmp_path: Path) -> None:
    found = snapshot(orin_nano(tmp_path), opener(Library(TEGRA)))
    jetson = found["jetson"]
    assert jetson["power_mode"] == {"name": "25W", "number": 1}
    assert jetson["jetpack"] == ["6.2", "b77"][0]
    assert jetson["gpu"]["mhz"] == 306
    assert jetson["gpu"]["governor"] == "nvhost_podgov"
    assert jetson["memory"] == {"mhz": 3199, "highest_mhz": 3199, "fixed": True}
    assert jetson["clocks_fixed"] is False
    assert len(found["cpu"]["cores"]) == 6
    assert found["cpu"]["cores"][5] == {
        "core": 5,
        "mhz": 1344,
        "low_mhz": 729.6,
        "high_mhz": 1728,
        "highest_mhz": 1728,
        "governor": "schedutil",
    }
    assert found["celsius"]["cpu-thermal"] == 48.718
    assert found["over_current"] == {"oc1": 0, "oc2": 15, "oc3": 37}
    assert found["gpus"] == []
    assert found["load"] == [0.31, 0.40, 0.42]
    assert found["unread"] == ["temperature of cv0-thermal: the sensor gives no value now"]
    assert json.loads(json.dumps(found)) == found


def test_fixed_clocks_are_seen(tmp_path: Path) -> None:
    files = boards.ORIN_NANO | boards.cores(6, 1_728_000, 1_728_000, 1_728_000, "schedutil")
    files["/sys/class/devfreq/17000000.gpu/min_freq"] = "1020000000\n"
    found = snapshot(boards.machine(tmp_path, files), none_here)
    assert found["jetson"]["clocks_fixed"] is True
    assert any("nvpmodel does not tell" in words for words in found["unread"])
    assert any("jetson_clocks --show" in words for words in found["unread"])


def test_nothing_happened(tmp_path: Path) -> None:
    board = orin_nano(tmp_path)
    assert between(snapshot(board, none_here), snapshot(board, none_here)) == []


def test_a_board_that_gets_hot_and_starves(tmp_path: Path) -> None:
    board = orin_nano(tmp_path)
    before = snapshot(board, none_here)
    boards.set_file(board, "/sys/class/thermal/cooling_device0/cur_state", "1")
    boards.set_file(board, "/sys/class/hwmon/hwmon3/oc3_event_cnt", "179")
    boards.set_file(board, "/sys/class/hwmon/hwmon3/oc1_event_cnt", "1")
    assert between(before, snapshot(board, none_here)) == [
        "heat: cpu-throttle-alert held clocks down after the measurement (level 1)",
        "power supply: clocks were held down once, the supply's voltage was too low (oc1)",
        "power supply: clocks were held down 142 times, the peak current was too high (oc3)",
    ]


def test_a_heat_alert_that_came_and_went_is_seen_where_the_kernel_counts(tmp_path: Path) -> None:
    board = orin_nano(tmp_path)
    before = snapshot(board, none_here)
    boards.set_file(board, "/sys/class/thermal/cooling_device0/stats/total_trans", "6")
    assert between(before, snapshot(board, none_here)) == [
        "heat: cpu-throttle-alert held clocks down during the measurement"
    ]


def test_another_power_mode_and_governor(tmp_path: Path) -> None:
    board = orin_nano(tmp_path)
    before = snapshot(board, none_here)
    after = snapshot(
        boards.machine(
            tmp_path,
            boards.cores(6, 729_600, 1_036_800, 1_036_800, "performance"),
            {"nvpmodel": "NV Power Mode: 7W\n3\n"},
        ),
        none_here,
    )
    assert between(before, after) == [
        "CPU: the limit of its clock fell to 1037 MHz (cores 0, 1, 2, 3, 4, 5)",
        "power mode: it changed from 25W to 7W during the measurement",
        "CPU: its governor changed from schedutil to performance during the measurement",
    ]


def test_an_intel_pc(tmp_path: Path) -> None:
    pc = boards.machine(tmp_path, boards.INTEL)
    before = snapshot(pc, none_here)
    assert before["jetson"] is None
    assert before["cpu"]["boost"] is True
    assert before["cpu"]["throttle_counts"] == {"core": 5, "package": 7}
    assert before["unread"] == []
    counter = "/sys/devices/system/cpu/cpu0/thermal_throttle/{}_throttle_count"
    boards.set_file(pc, counter.format("core"), "3")
    boards.set_file(pc, counter.format("package"), "9")
    assert between(before, snapshot(pc, none_here)) == [
        "CPU: heat slowed a core down once",
        "CPU: heat slowed the whole CPU down 2 times",
    ]


def test_a_container_without_sensors(tmp_path: Path) -> None:
    box = boards.machine(tmp_path, boards.CONTAINER)
    before = snapshot(box, none_here)
    assert before["cpu"]["cores"] == []
    assert before["cpu"]["quota"] == {"cores": 2.0, "throttled_periods": 3}
    assert before["cpu"]["stolen_seconds"] == 7885 / os.sysconf("SC_CLK_TCK")
    assert [words.partition(":")[0] for words in before["unread"]] == [
        "clocks of the CPU",
        "temperatures",
        "throttling of the CPU",
    ]
    ticks = 7885 + 3 * os.sysconf("SC_CLK_TCK")
    boards.set_file(box, "/proc/stat", f"cpu  1 2 3 4 5 0 7 {ticks} 0 0\n")
    boards.set_file(box, "/sys/fs/cgroup/kubepods/pod7/cpu.stat", "nr_throttled 9\n")
    after = snapshot(box, none_here)
    assert between(before, after) == [
        "CPU: the host gave 5% of a core's time to other virtual machines",
        "CPU: the container's quota of 2 cores was used up 6 times",
    ]
    assert len(between(before, after, seconds=3600)) == 1  # 3 s of an hour: not worth a word


def test_a_quota_of_the_first_kind_of_cgroup(tmp_path: Path) -> None:
    files = {
        "/proc/self/cgroup": "1:cpu:/docker/abc\n",
        "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000\n",
        "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        "/sys/fs/cgroup/cpu/cpu.stat": "nr_periods 5\nnr_throttled 2\nthrottled_time 7\n",
    }
    box = boards.machine(tmp_path, files)
    assert snapshot(box, none_here)["cpu"]["quota"] == {"cores": 1.5, "throttled_periods": 2}
    boards.set_file(box, "/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1")
    assert snapshot(box, none_here)["cpu"]["quota"] is None


def test_an_h100(tmp_path: Path) -> None:
    server = boards.machine(tmp_path, boards.RYZEN)
    card = Card(violations_ns={0: 10**12, 1: 0})
    library = Library(card)
    before = snapshot(server, opener(library))
    assert before["gpus"] == [
        {
            "index": 0,
            "name": "NVIDIA H100 80GB HBM3",
            "state": "P0",
            "mhz": {"graphics": 1980, "memory": 2619},
            "highest_mhz": {"graphics": 1980, "memory": 2619},
            "celsius": 41,
            "watts": 118.4,
            "limit_watts": 700.0,
            "slowdowns": [],
            "held_seconds": {"power": 1000.0, "heat": 0.0},
        }
    ]
    card.reasons, card.violations_ns = 0x1 | 0x20, {0: 10**12 + 1_300_000_000, 1: 10_000_000}
    assert between(before, snapshot(server, opener(library))) == [
        "GPU 0: heat (the driver slows it down) held its clocks down after the measurement",
        "GPU 0: the power limit held its clocks down for 1.3 s",
    ]
    assert library.open == 0


def test_a_gpu_of_few_words_and_a_card_without_a_driver(tmp_path: Path) -> None:
    files = boards.RYZEN | {
        "/sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de\n",
        "/sys/bus/pci/devices/0000:01:00.0/class": "0x030000\n",
    }
    pc = boards.machine(tmp_path, files)
    shy = snapshot(pc, opener(Library(Card(celsius=None, violations_ns=None))))
    assert shy["gpus"][0]["celsius"] is None
    assert shy["unread"][-1] == (
        "GPU 0: it does not tell its temperature, time for which limits held the clocks"
    )
    assert compare_conditions(shy, shy)["throttled"] == []
    lost = snapshot(pc, none_here)
    assert lost["gpus"] == []
    assert lost["unread"][-1].startswith("the NVIDIA GPU: no NVIDIA driver")


def test_gpus_that_cannot_be_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    library = Library(Card("NVIDIA T400", "GPU-a"), Card("NVIDIA L4", "GPU-b"))
    found = snapshot(boards.machine(tmp_path, boards.RYZEN), opener(library))
    assert found["gpus"] == []
    assert "CUDA numbers different GPUs by their speed" in found["unread"][-1]


def test_the_section_of_a_record(tmp_path: Path) -> None:
    board = orin_nano(tmp_path)
    before, after = snapshot(board, none_here), snapshot(board, none_here)
    section = conditions_section(before, after, 2)
    assert section["threads"] == 2
    assert section["throttled"] == []
    assert section["unread"] == before["unread"]
    assert section["load_before"] == 0.31
    assert section["affinity"] == sorted(os.sched_getaffinity(0))
    assert section["niceness"] == os.nice(0)


def test_this_machine() -> None:
    section = conditions_section(snapshot(), snapshot(), "default")
    assert json.loads(json.dumps(section)) == section
    assert section["before"]["load"] is not None
