"""What the GPU is, from the driver alone: no CUDA toolkit and no Python package is needed."""

from __future__ import annotations

import ctypes
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from edgepose.errors import DeviceError

__all__ = ["Gpu", "find_gpu", "read_gpu"]

_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_VERSION = Path("/proc/driver/nvidia/version")

# CUresult and CUdevice_attribute, from NVIDIA's CUDA driver API reference.
_NO_DEVICE = 100
_MULTIPROCESSORS, _MAJOR, _MINOR, _INTEGRATED = 16, 75, 76, 18
_MEANINGS = {
    3: "the driver is not initialised",
    100: "the driver finds no NVIDIA GPU",
    101: "there is no GPU of that number",
    802: "the system is not ready: is the fabric manager running?",
    803: "the driver and this user-space library are of different versions",
    804: "the driver is too old for this GPU's forward compatibility package",
    999: "the driver gives no reason",
}


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU and its driver.

    Attributes:
        name: As the driver calls it. Every Orin module is called ``Orin``.
        compute_capability: Major and minor, e.g. ``(8, 7)``.
        multiprocessors: Count in force; a Jetson's power mode may switch some off.
        memory_bytes: Its memory; on a Jetson the memory that it shares with the CPU.
        integrated: Whether it shares the CPU's memory.
        driver: Version of the kernel's driver, e.g. ``570.124.06``; None where it does not say.
        cuda: Newest CUDA version that the driver runs, e.g. ``(12, 8)``.
    """

    name: str
    compute_capability: tuple[int, int]
    multiprocessors: int
    memory_bytes: int
    integrated: bool
    driver: str | None
    cuda: tuple[int, int]


def find_gpu(index: int = 0) -> Gpu | None:
    """As :func:`read_gpu`, but None where there is no usable GPU."""
    try:
        return read_gpu(index)
    except DeviceError:
        return None


def read_gpu(index: int = 0) -> Gpu:
    """Ask the driver about a GPU. Makes no context and takes no memory on it.

    Raises:
        DeviceError: No driver, no GPU, or none of that number; says which.
    """
    try:
        cuda = ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise DeviceError(
            "no usable GPU",
            f"the NVIDIA driver is not installed: {error}",
            "install NVIDIA's driver; in a container, start it with the NVIDIA runtime",
        ) from error
    _call(cuda, "cuInit", 0)
    version = ctypes.c_int()
    _call(cuda, "cuDriverGetVersion", ctypes.byref(version))
    device = ctypes.c_int()
    _call(cuda, "cuDeviceGet", ctypes.byref(device), index)
    name = ctypes.create_string_buffer(256)
    _call(cuda, "cuDeviceGetName", name, len(name), device)
    memory = ctypes.c_size_t()
    _call(cuda, "cuDeviceTotalMem_v2", ctypes.byref(memory), device)

    def attribute(number: int) -> int:
        value = ctypes.c_int()
        _call(cuda, "cuDeviceGetAttribute", ctypes.byref(value), number, device)
        return value.value

    return Gpu(
        name=name.value.decode(errors="replace"),
        compute_capability=(attribute(_MAJOR), attribute(_MINOR)),
        multiprocessors=attribute(_MULTIPROCESSORS),
        memory_bytes=memory.value,
        integrated=bool(attribute(_INTEGRATED)),
        driver=_driver_version(),
        cuda=(version.value // 1000, version.value % 1000 // 10),
    )


def _call(cuda: ctypes.CDLL, name: str, *arguments: object) -> None:
    code = getattr(cuda, name)(*arguments)
    if code:
        meaning = _MEANINGS.get(code, "see the CUDA driver API's list of errors")
        raise DeviceError(
            "no usable GPU",
            f"{name} failed with error {code}: {meaning}",
            "see what the system says of it: edgepose doctor",
        )


def _driver_version() -> str | None:
    """From the kernel's file; Windows and WSL have none."""
    try:
        text = _VERSION.read_text()
    except OSError:
        return None
    match = re.search(r"Kernel Module.*?\s(\d+\.[\d.]+)", text)
    return match[1] if match else None
