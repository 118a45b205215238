"""The CPU's clocks, and what takes time away from its cores."""

from __future__ import annotations

import os
import re
from typing import Any

from edgepose.system import System

__all__ = ["read_cpu"]

_CPU = "/sys/devices/system/cpu"


def read_cpu(system: System, unread: list[str]) -> dict[str, Any]:
    """Clocks by core, counters of throttling, stolen time and a container's quota.

    Args:
        system: The machine.
        unread: Gets what could not be read, and why.
    """
    cores = [_core(system, path) for path in system.matches(f"{_CPU}/cpu[0-9]*/cpufreq")]
    if not cores:
        unread.append(
            "clocks of the CPU: the kernel shows none (no cpufreq), as in most virtual machines"
        )
    return {
        "cores": cores,
        "boost": _boost(system),
        "throttle_counts": _throttle_counts(system),
        "stolen_seconds": _stolen_seconds(system),
        "quota": _quota(system),
    }


def _core(system: System, path: str) -> dict[str, Any]:
    """One core; kHz in the kernel's files (Documentation/admin-guide/pm/cpufreq.rst)."""

    def mhz(name: str) -> float | None:
        value = system.number(f"{path}/{name}")
        return None if value is None else value / 1000

    match = re.search(r"/cpu(\d+)/", path)
    return {
        "core": int(match[1]) if match else None,
        "mhz": mhz("scaling_cur_freq"),
        "low_mhz": mhz("scaling_min_freq"),
        "high_mhz": mhz("scaling_max_freq"),
        "highest_mhz": mhz("cpuinfo_max_freq"),
        "governor": system.read(f"{path}/scaling_governor") or None,
    }


def _boost(system: System) -> bool | None:
    boost = system.number(f"{_CPU}/cpufreq/boost")
    if boost is not None:
        return boost == 1
    off = system.number(f"{_CPU}/intel_pstate/no_turbo")
    return None if off is None else off == 0


def _throttle_counts(system: System) -> dict[str, int] | None:
    """Events since the start: of single cores (summed), and of a package (the highest)."""
    found = {}
    for kind, join in (("core", sum), ("package", max)):
        paths = system.matches(f"{_CPU}/cpu[0-9]*/thermal_throttle/{kind}_throttle_count")
        values = [value for value in map(system.number, paths) if value is not None]
        if values:
            found[kind] = join(values)
    return found or None


def _stolen_seconds(system: System) -> float | None:
    """Time that this virtual machine's cores waited for the host, summed over cores.

    The eighth figure of ``cpu`` in /proc/stat, in ticks (proc(5)).
    """
    match = re.search(r"^cpu +((?:\d+ ?)+)", system.read("/proc/stat"), re.MULTILINE)
    figures = match[1].split() if match else []
    return int(figures[7]) / os.sysconf("SC_CLK_TCK") if len(figures) > 7 else None


def _quota(system: System) -> dict[str, Any] | None:
    """A container's share of the CPU, and how often it was used up; None where there is none.

    From cgroup version 2, else 1, of this process and what it lies in.
    """
    own = re.search(r"^0::(/.*)$", system.read("/proc/self/cgroup"), re.MULTILINE)
    path = own[1].rstrip("/") if own else ""
    folders = ["/sys/fs/cgroup" + path[:end] for end in _ends(path)]
    shares, periods = [], 0
    for folder in folders:
        share = re.match(r"(\d+) (\d+)", system.read(f"{folder}/cpu.max"))
        if share:
            shares.append(int(share[1]) / int(share[2]))
            periods += _throttled_periods(system, folder)
    if not shares:
        folder = "/sys/fs/cgroup/cpu"
        quota = system.number(f"{folder}/cpu.cfs_quota_us") or 0
        period = system.number(f"{folder}/cpu.cfs_period_us")
        if quota > 0 and period:
            shares.append(quota / period)
            periods = _throttled_periods(system, folder)
    return {"cores": min(shares), "throttled_periods": periods} if shares else None


def _ends(path: str) -> list[int]:
    """Where ``/a/b`` and each folder that it lies in end."""
    return [0, *(place for place, letter in enumerate(path) if letter == "/" and place), len(path)]


def _throttled_periods(system: System, folder: str) -> int:
    match = re.search(r"^nr_throttled (\d+)$", system.read(f"{folder}/cpu.stat"), re.MULTILINE)
    return int(match[1]) if match else 0
