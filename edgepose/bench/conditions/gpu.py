"""Clocks, heat, limits and state of NVIDIA's GPUs in PCs and servers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from edgepose.errors import DeviceError
from edgepose.nvml import Gpu, Nvml
from edgepose.system import System

__all__ = ["OpenNvml", "read_gpus"]

OpenNvml = Callable[[], tuple[Nvml | None, str]]
_Value = TypeVar("_Value")


def read_gpus(system: System, open_nvml: OpenNvml, unread: list[str]) -> list[dict[str, Any]]:
    """One entry for each GPU that CUDA may use here; what one does not tell is None.

    Args:
        system: The machine.
        open_nvml: Gives NVIDIA's library, or why there is none.
        unread: Gets what could not be read, and why; nothing on a machine without such a GPU.
    """
    nvml, why = open_nvml()
    if nvml is None:
        if _has_card(system):
            unread.append(f"the NVIDIA GPU: {why}")
        return []
    with nvml:
        try:
            gpus = nvml.visible_gpus()
        except DeviceError as error:
            unread.append(f"the NVIDIA GPUs: {error.what}: {error.why}")
            return []
        return [_gpu(gpu, unread) for gpu in gpus]


def _has_card(system: System) -> bool:
    vendors = system.matches("/sys/bus/pci/devices/*/vendor")
    return any(
        system.read(vendor) == "0x10de"
        and system.read(f"{vendor.removesuffix('vendor')}class").startswith("0x03")
        for vendor in vendors
    )


def _gpu(gpu: Gpu, unread: list[str]) -> dict[str, Any]:
    silent: list[str] = []

    def told(what: str, ask: Callable[[], _Value]) -> _Value | None:
        try:
            return ask()
        except DeviceError:
            silent.append(what)
            return None

    found = {
        "index": gpu.index,
        "name": told("name", gpu.name),
        "state": told("performance state", gpu.state),
        "mhz": told("clocks", gpu.clocks_mhz),
        "highest_mhz": told("highest clocks", gpu.highest_clocks_mhz),
        "celsius": told("temperature", gpu.celsius),
        "watts": told("power", gpu.watts),
        "limit_watts": told("power limit", gpu.limit_watts),
        "slowdowns": told("reasons of slow clocks", gpu.slowdowns),
        "held_seconds": told("time for which limits held the clocks", gpu.held_seconds),
    }
    if silent:
        unread.append(f"GPU {gpu.index}: it does not tell its {', '.join(silent)}")
    return found
