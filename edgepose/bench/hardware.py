"""What a measurement was made on: the machine, and the versions of everything that matters."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import edgepose

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


def fingerprint() -> dict[str, Any]:
    """Hardware and stack, JSON-ready; what cannot be read is None, never guessed."""
    return {
        "hardware": {
            "board": _read("/proc/device-tree/model"),
            "cpu": _cpu_name(),
            "architecture": platform.machine(),
            "cores": os.cpu_count(),
            "usable_cores": _usable_cores(),
            "memory_gib": _memory_gib(),
            "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            "gpu": _gpu(),
        },
        "stack": {
            "edgepose": edgepose.__version__,
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.release()}",
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


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip("\0 \n") or None
    except OSError:
        return None


def _cpu_name() -> str | None:
    text = _read("/proc/cpuinfo") or ""
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match.group(1).strip() if match else platform.processor() or None


def _usable_cores() -> int | None:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _memory_gib() -> float | None:
    match = re.search(r"^MemTotal:\s+(\d+) kB", _read("/proc/meminfo") or "", re.MULTILINE)
    return round(int(match.group(1)) / 2**20, 1) if match else None


def _gpu() -> list[str] | None:
    """Name and driver of each NVIDIA GPU, or None where nvidia-smi is absent or fails."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    query = [tool, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(  # noqa: S603 - a fixed query to a tool found on the path
            query, capture_output=True, text=True, check=True, timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def _versions() -> dict[str, str]:
    """Installed versions, without importing anything."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
