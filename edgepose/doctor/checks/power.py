"""Power mode, clocks and heat: why the same board is sometimes half as fast."""

from __future__ import annotations

import re
from collections.abc import Mapping

from edgepose.doctor.asking import Answer
from edgepose.doctor.finding import Finding
from edgepose.doctor.system import System
from edgepose.jetson import find_board
from edgepose.sensors import gpu_clock, power_mode, temperatures, throttle_alerts

__all__ = ["check"]

_GROUP = "power"
_HOT = 85.0


def check(system: System, told: Mapping[str, Answer]) -> list[Finding]:
    """Governor and heat everywhere; power mode, GPU clock and throttling on a Jetson."""
    found = []
    if find_board(system) is not None:
        found += [*_mode(system), *_gpu_clock(system)]
    return [*found, *_governor(system), *_heat(system)]


def _mode(system: System) -> list[Finding]:
    mode = power_mode(system)
    if mode is None:
        return [
            Finding(
                group=_GROUP,
                check="power mode",
                level="note",
                seen="nvpmodel does not tell",
                means="usual inside a container: ask on the board itself",
                do="sudo nvpmodel -q",
            )
        ]
    modes = _modes(system)
    best = next((n for n, name in modes.items() if name.upper() == "MAXN_SUPER"), None)
    if best is None:
        best = next((n for n, name in modes.items() if name.upper().startswith("MAXN")), None)
    if best is None or best == mode.number:
        return [Finding(group=_GROUP, check="power mode", level="ok", seen=mode.name)]
    others = ", ".join(name for n, name in modes.items() if n != mode.number)
    return [
        Finding(
            group=_GROUP,
            check="power mode",
            level="note",
            seen=f"{mode.name} (others: {others})",
            means="it caps the clocks of CPU, GPU and memory, and figures belong to their mode",
            do=f"sudo nvpmodel -m {best} is {modes[best]}, if the power supply and the cooling "
            "allow it",
        )
    ]


def _modes(system: System) -> dict[int, str]:
    text = system.read("/etc/nvpmodel.conf")
    rows = re.finditer(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>", text)
    return {int(row[1]): row[2] for row in rows}


def _gpu_clock(system: System) -> list[Finding]:
    clock = gpu_clock(system)
    if clock is None:
        return []
    if clock.fixed:
        seen = f"fixed at {_mhz(clock.high)} MHz"
        return [Finding(group=_GROUP, check="GPU clock", level="ok", seen=seen)]
    return [
        Finding(
            group=_GROUP,
            check="GPU clock",
            level="note",
            seen=f"{_mhz(clock.hertz)} now, {_mhz(clock.low)} to {_mhz(clock.high)} MHz "
            f"({clock.governor})",
            means="it follows the load, so that timings of a small model vary",
            do="sudo jetson_clocks (until the next start) before you measure",
        )
    ]


def _governor(system: System) -> list[Finding]:
    governor = system.read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    if not governor:
        return []
    if governor != "powersave":
        return [Finding(group=_GROUP, check="CPU governor", level="ok", seen=governor)]
    driver = system.read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_driver")
    if driver in ("intel_pstate", "amd-pstate-epp"):  # there the name means: by load
        return [
            Finding(group=_GROUP, check="CPU governor", level="ok", seen=f"{governor} ({driver})")
        ]
    return [
        Finding(
            group=_GROUP,
            check="CPU governor",
            level="warn",
            seen=governor,
            means="the CPU stays at its lowest clock",
            do="sudo cpupower frequency-set -g schedutil",
        )
    ]


def _heat(system: System) -> list[Finding]:
    throttled = [part for part, level in throttle_alerts(system).items() if level > 0]
    zones, _ = temperatures(system)
    if throttled:
        return [
            Finding(
                group=_GROUP,
                check="heat",
                level="warn",
                seen=f"throttled now: {', '.join(throttled)}{_hottest(zones)}",
                means="clocks are held down because it is too hot: no figure taken now counts",
                do="cool it; sudo jetson_clocks --fan sets the fan to full",
            )
        ]
    if not zones:
        return []
    hot = max(zones.values()) >= _HOT
    return [
        Finding(
            group=_GROUP,
            check="heat",
            level="warn" if hot else "ok",
            seen=_hottest(zones).removeprefix("; "),
            means="near the temperature at which clocks are held down" if hot else "",
            do="cool it before you measure" if hot else "",
        )
    ]


def _hottest(zones: Mapping[str, float]) -> str:
    if not zones:
        return ""
    name = max(zones, key=lambda zone: zones[zone])
    return f"; {name} {zones[name]:.0f} °C"


def _mhz(hertz: int) -> str:
    return f"{hertz / 1e6:.0f}"
