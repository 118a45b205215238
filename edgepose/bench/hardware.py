"""What a measurement was made on: the machine, and the versions of everything that matters."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from collections.abc import Callable
from typing import Any

import edgepose
from edgepose.errors import DeviceError
from edgepose.jetson import find_board
from edgepose.nvml import Nvml, open_nvml
from edgepose.system import System

__all__ = ["fingerprint", "load_average", "slug"]

_PACKAGES = (
    "cuda-bindings",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "opencv-python",
    "opencv-python-headless",
    "pycocotools",
    "pycuda",
    "tensorrt",
    "tensorrt-rtx-cu13-libs",
    "torch",
)


def fingerprint(
    system: System | None = None, nvml: Callable[[], tuple[Nvml | None, str]] = open_nvml
) -> dict[str, Any]:
    """Hardware and stack, JSON-ready; what cannot be read is None, never guessed.

    Args:
        system: The machine; this one by default.
        nvml: Gives NVIDIA's library, or why there is none.
    """
    system = system or System()
    jetson = find_board(system)
    return {
        "hardware": {
            "board": system.read("/proc/device-tree/model") or None,
            "cpu": _cpu_name(system),
            "architecture": platform.machine(),
            "cores": os.cpu_count(),
            "usable_cores": _usable_cores(),
            "memory_gib": _memory_gib(system),
            "governor": system.read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
            or None,
            "gpu": _gpus(nvml),
        },
        "stack": {
            "edgepose": edgepose.__version__,
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.release()}",
            "jetpack": (jetson and jetson.jetpack) or None,
            "l4t": (jetson and jetson.l4t) or None,
            "packages": _versions(),
        },
    }


def load_average() -> float | None:
    """Processes that wanted the CPU in the last minute: above 0.5, the machine was not idle."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def slug(found: dict[str, Any]) -> str:
    """A folder name for that hardware: ``amd-epyc-2cores``, ``nvidia-jetson-orin-nano-6cores``."""
    hardware = found["hardware"]
    name = hardware["board"] or hardware["cpu"] or hardware["architecture"]
    name = re.sub(r"\((?:r|tm|c)\)|\bcpu\b|@.*|\bwith\b.*|\d+-core processor", " ", name.lower())
    words = re.findall(r"[a-z0-9]+", name)
    return "-".join([*words, f"{hardware['usable_cores']}cores"])


def _cpu_name(system: System) -> str | None:
    text = system.read("/proc/cpuinfo")
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match.group(1).strip() if match else platform.processor() or None


def _usable_cores() -> int | None:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _memory_gib(system: System) -> float | None:
    match = re.search(r"^MemTotal:\s+(\d+) kB", system.read("/proc/meminfo"), re.MULTILINE)
    return round(int(match.group(1)) / 2**20, 1) if match else None


def _gpus(open_library: Callable[[], tuple[Nvml | None, str]]) -> list[str] | None:
    """Name and driver of each NVIDIA GPU, or None where there is none or no driver."""
    nvml, _ = open_library()
    if nvml is None:
        return None
    with nvml:
        try:
            driver = nvml.driver()
            return [f"{gpu.name()}, {driver}" for gpu in nvml.gpus()] or None
        except DeviceError:
            return None


def _versions() -> dict[str, str]:
    """Installed versions, without importing anything."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
