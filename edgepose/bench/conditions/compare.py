"""Whether a machine was slowed down between two moments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["compare_conditions"]

# Shares of the time between the snapshots below which nothing is said.
_STOLEN, _HELD = 0.01, 0.002
_OVER_CURRENT = {
    "oc1": "the supply's voltage was too low",
    "oc2": "the mean current was too high",
    "oc3": "the peak current was too high",
}

Snapshot = dict[str, Any]


def compare_conditions(before: Snapshot, after: Snapshot) -> dict[str, list[str]]:
    """What slowed the machine down, from counters between and states at two snapshots.

    Args:
        before: What :func:`~edgepose.bench.conditions.snapshot` gave before the measurement.
        after: And after it.

    Returns:
        ``throttled``: reasons in words, empty if nothing was found; ``unread``: what could not be
        looked at, and why. States (unlike counters) are seen at the two moments only.
    """
    throttled = [
        *_cpu(before, after),
        *_cooling(before, after),
        *_over_current(before, after),
        *_gpus(before, after),
        *_settings(before, after),
    ]
    unread = dict.fromkeys([*before["unread"], *after["unread"]])
    return {"throttled": list(dict.fromkeys(throttled)), "unread": list(unread)}


def _cpu(before: Snapshot, after: Snapshot) -> Iterator[str]:
    old, new = before["cpu"], after["cpu"]
    for kind, count in (new["throttle_counts"] or {}).items():
        times = count - (old["throttle_counts"] or {}).get(kind, count)
        if times > 0:
            part = "a core" if kind == "core" else "the whole CPU"
            yield f"CPU: heat slowed {part} down {_times(times)}"
    if old["stolen_seconds"] is not None and new["stolen_seconds"] is not None:
        stolen = (new["stolen_seconds"] - old["stolen_seconds"]) / _elapsed(before, after)
        if stolen > _STOLEN:
            yield f"CPU: the host gave {stolen:.0%} of a core's time to other virtual machines"
    if old["quota"] and new["quota"]:
        times = new["quota"]["throttled_periods"] - old["quota"]["throttled_periods"]
        if times > 0:
            cores = new["quota"]["cores"]
            yield f"CPU: the container's quota of {cores:g} cores was used up {_times(times)}"
    limits = {core["core"]: core["high_mhz"] for core in old["cores"]}
    fallen = [
        core["core"]
        for core in new["cores"]
        if core["high_mhz"] and core["high_mhz"] < (limits.get(core["core"]) or 0)
    ]
    if fallen:
        low = min(core["high_mhz"] for core in new["cores"] if core["core"] in fallen)
        yield f"CPU: the limit of its clock fell to {low:.0f} MHz (cores {_list(fallen)})"


def _cooling(before: Snapshot, after: Snapshot) -> Iterator[str]:
    for when, state in (("before", before), ("after", after)):
        for name, level in state["cooling"].items():
            if level > 0:
                yield f"heat: {name} held clocks down {when} the measurement (level {level})"
    for name, changes in after["cooling_changes"].items():
        times = changes - before["cooling_changes"].get(name, changes)
        at_ends = before["cooling"].get(name, 0) or after["cooling"].get(name, 0)
        if times > 0 and not at_ends:
            yield f"heat: {name} held clocks down during the measurement"


def _over_current(before: Snapshot, after: Snapshot) -> Iterator[str]:
    for name, count in after["over_current"].items():
        times = count - before["over_current"].get(name, count)
        if times > 0:
            words = _OVER_CURRENT.get(name, "over-current")
            yield f"power supply: clocks were held down {_times(times)}, {words} ({name})"


def _gpus(before: Snapshot, after: Snapshot) -> Iterator[str]:
    earlier = {gpu["index"]: gpu for gpu in before["gpus"]}
    for gpu in after["gpus"]:
        name, old = f"GPU {gpu['index']}", earlier.get(gpu["index"])
        for when, state in (("before", old), ("after", gpu)):
            for reason in (state or {}).get("slowdowns") or []:
                yield f"{name}: {reason} held its clocks down {when} the measurement"
        for reason, seconds in (gpu["held_seconds"] or {}).items():
            held = seconds - ((old or {}).get("held_seconds") or {}).get(reason, seconds)
            if held / _elapsed(before, after) > _HELD:
                what = "the power limit" if reason == "power" else reason
                yield f"{name}: {what} held its clocks down for {held:.1f} s"


def _settings(before: Snapshot, after: Snapshot) -> Iterator[str]:
    """What somebody set differently in between."""
    old, new = before["jetson"] or {}, after["jetson"] or {}
    modes = [(state.get("power_mode") or {}).get("name") for state in (old, new)]
    if None not in modes and modes[0] != modes[1]:
        yield f"power mode: it changed from {modes[0]} to {modes[1]} during the measurement"
    governors = [
        sorted({core["governor"] for core in state["cpu"]["cores"] if core["governor"]})
        for state in (before, after)
    ]
    if governors[0] != governors[1]:
        names = [_list(names) or "none" for names in governors]
        yield f"CPU: its governor changed from {names[0]} to {names[1]} during the measurement"


def _elapsed(before: Snapshot, after: Snapshot) -> float:
    return max(float(after["monotonic_seconds"]) - float(before["monotonic_seconds"]), 1e-3)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _list(items: list[Any]) -> str:
    return ", ".join(map(str, items))
