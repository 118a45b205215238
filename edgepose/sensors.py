"""Clocks, heat and power mode, as the kernel and NVIDIA's tools tell of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from edgepose.system import System

__all__ = [
    "GpuClock",
    "PowerMode",
    "cooling_changes",
    "cooling_devices",
    "gpu_clock",
    "power_mode",
    "temperatures",
    "throttle_alerts",
]

# Devfreq nodes of a Jetson's GPU: Orin's address, Thor's names, older ones.
_GPU_NODES = (
    "/sys/class/devfreq/*.gpu",
    "/sys/class/devfreq/*.ga10b",
    "/sys/class/devfreq/gpu-gpc-*",
)
# Drivers of sensors on PCs' processors.
_CPU_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal")


@dataclass(frozen=True)
class PowerMode:
    """What ``nvpmodel`` has set.

    Attributes:
        name: E.g. ``25W`` or ``MAXN_SUPER``.
        number: What ``nvpmodel -m`` takes.
    """

    name: str
    number: int


@dataclass(frozen=True, kw_only=True)
class GpuClock:
    """Clock of a Jetson's GPU.

    Attributes:
        hertz: Now.
        low: Least that it may be now.
        high: Most that it may be now.
        governor: What chooses between them.
    """

    hertz: int
    low: int
    high: int
    governor: str

    @property
    def fixed(self) -> bool:
        """Whether it cannot move, as after ``jetson_clocks``."""
        return self.low == self.high


def power_mode(system: System) -> PowerMode | None:
    """A Jetson's power mode; None where ``nvpmodel`` does not tell (usual in a container)."""
    # "NV Power Mode: 15W\n0\n"
    match = re.search(r"NV Power Mode: *(\S+)\s+(\d+)", system.run(["nvpmodel", "-q"]).out)
    return PowerMode(match[1], int(match[2])) if match else None


def gpu_clock(system: System) -> GpuClock | None:
    """Clock of a Jetson's GPU; None where no node tells all of it."""
    for node in (path for pattern in _GPU_NODES for path in system.matches(pattern)):
        now, low, high = (system.number(f"{node}/{name}_freq") for name in ("cur", "min", "max"))
        if now is not None and low is not None and high is not None:
            governor = system.read(f"{node}/governor")
            return GpuClock(hertz=now, low=low, high=high, governor=governor)
    return None


def temperatures(system: System) -> tuple[dict[str, float], list[str]]:
    """Degrees Celsius by name, and the names of sensors that give no value now.

    A sensor of a part that is switched off, such as a Jetson's sleeping GPU, has none.
    """
    zones: dict[str, float] = {}
    silent = []
    for zone in system.matches("/sys/class/thermal/thermal_zone*"):
        name = system.read(f"{zone}/type") or PurePosixPath(zone).name
        value = system.number(f"{zone}/temp")
        # Unused sensors of some boards stand at 0 or at absurd values.
        if value is not None and 1_000 <= value <= 150_000:
            zones[_unique(name, zones)] = value / 1000
        else:
            silent.append(name)
    for chip in system.matches("/sys/class/hwmon/hwmon*"):
        driver = system.read(f"{chip}/name")
        if driver not in _CPU_SENSORS:
            continue
        for path in system.matches(f"{chip}/temp*_input"):
            label = system.read(f"{path.removesuffix('_input')}_label")
            value = system.number(path)
            if value is not None and not label.startswith("Core "):  # the package is the hottest
                zones[_unique(f"{driver} {label}".strip(), zones)] = value / 1000
    return zones, silent


def throttle_alerts(system: System) -> dict[str, int]:
    """A Jetson's alerts, part -> level; above 0, its clocks are held down at this moment."""
    return {
        name.removesuffix("-throttle-alert"): level
        for name, level in _cooling(system, "cur_state")
        if name.endswith("-throttle-alert")
    }


def cooling_devices(system: System) -> dict[str, int]:
    """What holds clocks down for heat, name -> level now (0: not at all). No fans.

    Those are a Jetson's alerts, the kernel's limits of CPU and GPU clocks (``cpufreq-cpu0``,
    ``devfreq-17000000.gpu``), and those that a PC's firmware asks for (``Processor``, of all cores
    the highest).
    """
    found: dict[str, int] = {}
    for name, level in _cooling(system, "cur_state"):
        if _slows_down(name):
            found[name] = max(level, found.get(name, 0))
    return found


def cooling_changes(system: System) -> dict[str, int]:
    """How often those have changed their levels; empty where the kernel does not count."""
    found: dict[str, int] = {}
    for name, count in _cooling(system, "stats/total_trans"):
        if _slows_down(name):
            found[name] = count + found.get(name, 0)
    return found


def _slows_down(cooling_device: str) -> bool:
    kinds = r".*-alert|(?:thermal-)?cpufreq-.*|(?:thermal-)?devfreq-.*|Processor"
    return re.fullmatch(kinds, cooling_device) is not None


def _cooling(system: System, file: str) -> Iterator[tuple[str, int]]:
    for device in system.matches("/sys/class/thermal/cooling_device*"):
        value = system.number(f"{device}/{file}")
        if value is not None:
            yield system.read(f"{device}/type"), value


def _unique(name: str, taken: dict[str, float]) -> str:
    if name not in taken:
        return name
    number = 2
    while f"{name} #{number}" in taken:
        number += 1
    return f"{name} #{number}"
