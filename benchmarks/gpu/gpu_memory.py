"""How much of the GPU's memory is in use, by whomever, from the driver's management library."""

from __future__ import annotations

import ctypes

__all__ = ["used_mib"]

_LIBRARY = "libnvidia-ml.so.1"


class _Memory(ctypes.Structure):
    """``nvmlMemory_t`` of NVIDIA's NVML reference."""

    _fields_ = (
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


def used_mib(index: int = 0) -> float | None:
    """MiB in use; None where the library is absent or does not say (Jetson)."""
    try:
        nvml = ctypes.CDLL(_LIBRARY)
    except OSError:
        return None
    device, memory = ctypes.c_void_p(), _Memory()
    if (
        nvml.nvmlInit_v2()
        or nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device))
        or nvml.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory))
    ):
        return None
    return round(float(memory.used) / 2**20, 1)
