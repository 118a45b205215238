"""Memory, swap and disk: what running takes, and the several times more that building takes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from edgepose.doctor.asking import Answer
from edgepose.doctor.finding import Finding
from edgepose.doctor.system import System
from edgepose.jetson import find_board

__all__ = ["check"]

_GROUP = "memory"
_GIB = 2**30
# Round figures, not measured. TensorRT's builder is reckoned at 1.5 GiB and five times the file
# (edgepose.engine.preflight, which judges the file at hand): 4 GiB serve files of half a GiB.
_TO_RUN = 0.5 * _GIB
_TO_BUILD = 4 * _GIB
_DISK = 2 * _GIB
_SWAP_FILE = (
    "sudo systemctl disable --now nvzramconfig; sudo fallocate -l 8G /swapfile && "
    "sudo chmod 600 /swapfile && sudo mkswap /swapfile && sudo swapon /swapfile"
)


def check(system: System, told: Mapping[str, Answer]) -> list[Finding]:
    """Memory (shared with the GPU on a Jetson), swap, disk."""
    text = system.read("/proc/meminfo")
    sizes = {m[1]: int(m[2]) * 1024 for m in re.finditer(r"^(\w+):\s+(\d+) kB$", text, re.M)}
    found = []
    if "MemAvailable" in sizes:
        jetson = find_board(system) is not None
        found = [_memory(system, sizes, jetson), _swap(system, sizes, jetson)]
    return [*found, *_disk(system)]


def _memory(system: System, sizes: dict[str, int], jetson: bool) -> Finding:
    total, free = sizes["MemTotal"], sizes["MemAvailable"]
    seen = f"{_gib(free)} free of {_gib(total)}"
    limit = system.number("/sys/fs/cgroup/memory.max")
    if limit is not None and limit < total:
        used = system.number("/sys/fs/cgroup/memory.current") or 0
        caches = re.search(
            r"^inactive_file (\d+)$", system.read("/sys/fs/cgroup/memory.stat"), re.MULTILINE
        )
        used -= int(caches[1]) if caches else 0  # given back when it is wanted
        free = min(free, max(0, limit - used))
        seen = f"{_gib(free)} free of the {_gib(limit)} that this container or service may take"
    if jetson:
        seen += ", shared by CPU and GPU"
    if free < _TO_RUN:
        return Finding(
            group=_GROUP,
            check="memory",
            level="warn",
            seen=seen,
            means="a model may not load",
            do="end other programs: ps -eo pid,rss,comm --sort=-rss | head",
        )
    if jetson and free + sizes.get("SwapFree", 0) < _TO_BUILD:
        return Finding(
            group=_GROUP,
            check="memory",
            level="warn",
            seen=seen,
            means="with the swap under 4 GiB: the system may kill TensorRT's builder",
            do="end the desktop while you build: sudo systemctl isolate multi-user.target",
        )
    return Finding(group=_GROUP, check="memory", level="ok", seen=seen)


def _swap(system: System, sizes: dict[str, int], jetson: bool) -> Finding:
    total = sizes.get("SwapTotal", 0)
    if not total:
        return Finding(
            group=_GROUP,
            check="swap",
            level="warn" if jetson else "note",
            seen="none",
            means="what does not fit is killed, TensorRT's builder first" if jetson else "",
            do=_SWAP_FILE if jetson else "",
        )
    places = system.read("/proc/swaps").splitlines()[1:]
    if jetson and places and all(place.startswith("/dev/zram") for place in places):
        return Finding(
            group=_GROUP,
            check="swap",
            level="note",
            seen=f"{_gib(total)}, all of it zram",
            means="zram is compressed memory: it helps programs, and TensorRT's builder little",
            do=_SWAP_FILE,
        )
    return Finding(group=_GROUP, check="swap", level="ok", seen=_gib(total))


def _disk(system: System) -> list[Finding]:
    free = system.free_bytes(Path())
    if free is None:
        return []
    if free < _DISK:
        return [
            Finding(
                group=_GROUP,
                check="disk",
                level="warn",
                seen=f"{_gib(free)} free here",
                means="an engine, its ONNX file and the timing cache may not fit",
                do="du -xh --max-depth=2 . | sort -h | tail",
            )
        ]
    return [Finding(group=_GROUP, check="disk", level="ok", seen=f"{_gib(free)} free here")]


def _gib(size: int) -> str:
    return f"{size / _GIB:.1f} GiB"
