"""The state of a machine at one moment."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Any

from edgepose.bench.conditions.cpu import read_cpu
from edgepose.bench.conditions.gpu import OpenNvml, read_gpus
from edgepose.bench.conditions.jetson import read_jetson, read_over_current
from edgepose.nvml import open_nvml
from edgepose.sensors import cooling_changes, cooling_devices, temperatures
from edgepose.system import System

__all__ = ["snapshot"]


def snapshot(system: System | None = None, nvml: OpenNvml = open_nvml) -> dict[str, Any]:
    """Clocks, heat, limits, counters and load. Never raises; takes some tenths of a second.

    Args:
        system: The machine; this one by default.
        nvml: Gives NVIDIA's library, or why there is none.

    Returns:
        JSON-ready, units in the names; what could not be read is None or left out, and ``unread``
        says why.
    """
    system = system or System()
    unread: list[str] = []
    cpu = read_cpu(system, unread)
    jetson = read_jetson(system, cpu["cores"], unread)
    celsius, silent = temperatures(system)
    if silent:
        unread.append(f"temperature of {', '.join(silent)}: the sensor gives no value now")
    elif not celsius:
        unread.append("temperatures: the kernel shows no sensor, as in most virtual machines")
    cooling = cooling_devices(system)
    if cpu["throttle_counts"] is None and not cooling:
        unread.append(
            "throttling of the CPU: the kernel counts none (it does so for Intel's CPUs) and shows "
            "no limit for heat"
        )
    return {
        "taken": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "monotonic_seconds": time.monotonic(),
        "load": _load(system),
        "cpu": cpu,
        "celsius": celsius,
        "cooling": cooling,
        "cooling_changes": cooling_changes(system),
        "over_current": read_over_current(system),
        # A Jetson has the library and next to nothing in it: its GPU's clock is in ``jetson``.
        "gpus": read_gpus(system, nvml, unread) if jetson is None else [],
        "jetson": jetson,
        "unread": unread,
    }


def _load(system: System) -> list[float] | None:
    """Processes that wanted the CPU, mean of the last 1, 5 and 15 minutes."""
    words = system.read("/proc/loadavg").split()
    return [float(word) for word in words[:3]] if len(words) >= 3 else None
