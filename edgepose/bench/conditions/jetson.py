"""A Jetson's power mode and clocks, and its counters of a weak power supply."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import PurePosixPath
from typing import Any

from edgepose.jetson import find_board
from edgepose.sensors import gpu_clock, power_mode
from edgepose.system import System

__all__ = ["read_jetson", "read_over_current"]


def read_jetson(
    system: System, cores: list[dict[str, Any]], unread: list[str]
) -> dict[str, Any] | None:
    """Board, power mode, GPU and memory clock, and whether clocks are fixed (jetson_clocks).

    Args:
        system: The machine.
        cores: What was read of the CPU's clocks.
        unread: Gets what could not be read, and why.

    Returns:
        None where this is no Jetson.
    """
    board = find_board(system)
    if board is None:
        return None
    mode = power_mode(system)
    if mode is None:
        unread.append("power mode: nvpmodel does not tell, as is usual inside a container")
    clock = gpu_clock(system)
    if clock is None:
        unread.append("clock of the GPU: no devfreq node tells it")
    memory = _memory_clock(system)
    if memory is None:
        unread.append("clock of the memory: jetson_clocks --show tells it to root alone")
    limits = [(core["low_mhz"], core["high_mhz"]) for core in cores]
    fixed = None
    if clock is not None and limits and all(None not in pair for pair in limits):
        # The CPU's limits are equal and the GPU's: what jetson_clocks does.
        fixed = clock.fixed and all(low == high for low, high in limits)
    return {
        "model": board.model,
        "jetpack": board.jetpack or None,
        "power_mode": None if mode is None else asdict(mode),
        "clocks_fixed": fixed,
        "gpu": None
        if clock is None
        else {
            "mhz": clock.hertz / 1e6,
            "low_mhz": clock.low / 1e6,
            "high_mhz": clock.high / 1e6,
            "governor": clock.governor,
        },
        "memory": memory,
    }


def _memory_clock(system: System) -> dict[str, Any] | None:
    # "EMC MinFreq=204000000 MaxFreq=2133000000 CurrentFreq=2133000000 FreqOverride=1"
    said = system.run(["jetson_clocks", "--show"])
    pattern = r"EMC MinFreq=\d+ MaxFreq=(\d+) CurrentFreq=(\d+) FreqOverride=(\d)"
    match = re.search(pattern, said.out)
    if said.code != 0 or match is None:
        return None
    return {
        "mhz": int(match[2]) / 1e6,
        "highest_mhz": int(match[1]) / 1e6,
        "fixed": match[3] == "1",
    }


def read_over_current(system: System) -> dict[str, int]:
    """Events since the start in which a weak supply slowed the board down; Orin and later.

    The driver ``soctherm_oc`` of NVIDIA's kernel counts under-voltage, mean over-current and peak
    over-current as ``oc1`` to ``oc3`` (Jetson Linux Developer Guide, platform power).
    """
    found = {}
    for chip in system.matches("/sys/class/hwmon/hwmon*"):
        if system.read(f"{chip}/name") != "soctherm_oc":
            continue
        for path in system.matches(f"{chip}/oc[0-9]_event_cnt"):
            value = system.number(path)
            if value is not None:
                found[PurePosixPath(path).name.removesuffix("_event_cnt")] = value
    return found
