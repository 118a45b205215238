"""GPU memory of this process, as NVIDIA's driver tells it."""

from __future__ import annotations

import ctypes
import os
import sys

from edgepose.errors import DeviceError
from edgepose.nvml import Gpu, Nvml, open_nvml

__all__ = ["GpuGauge"]

_CUDA = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_MOST_PROCESSES = 256
_UNKNOWN = 2**64 - 1  # NVML_VALUE_NOT_AVAILABLE


class _Process(ctypes.Structure):
    """``nvmlProcessInfo_t`` of NVML 11 and later."""

    _fields_ = (
        ("pid", ctypes.c_uint),
        ("used", ctypes.c_ulonglong),
        ("gpu_instance", ctypes.c_uint),
        ("compute_instance", ctypes.c_uint),
    )


class GpuGauge:
    """Memory that this process holds on a GPU. Made before it holds any.

    The driver's figure for the process where it has one; in most containers it has none, and then
    what the use of the whole GPU has grown by since this was made.

    Args:
        index: CUDA's number of the GPU in this process.

    Raises:
        DeviceError: The driver does not tell the memory of this GPU.
    """

    def __init__(self, index: int = 0) -> None:
        nvml, why = open_nvml()
        if nvml is None:
            raise DeviceError("GPU memory cannot be measured here", why)
        self._gpu = _gpu_of(nvml, index)
        self._before = self._gpu.used_bytes()
        # Numbers of processes may be those of another namespace. This process holds nothing yet:
        # who is listed under its number is somebody else.
        self._mistakable = self._own() is not None
        self.how = ""

    def used(self) -> int:
        """Bytes held now; :attr:`how` says from then on what they are."""
        own = None if self._mistakable else self._own()
        if not self.how:
            self.how = (
                "NVML: growth of the memory in use on the whole GPU since before the artefact was "
                "loaded; the driver does not tell processes apart here"
                if own is None
                else "NVML: memory of this process on the GPU, its CUDA context included"
            )
            self._by_process = own is not None
        if self._by_process:
            return own or 0
        return max(0, self._gpu.used_bytes() - self._before)

    def _own(self) -> int | None:
        count, found = ctypes.c_uint(_MOST_PROCESSES), (_Process * _MOST_PROCESSES)()
        try:
            self._gpu.nvml.call(
                "nvmlDeviceGetComputeRunningProcesses_v3",
                self._gpu.handle,
                ctypes.byref(count),
                found,
            )
        except DeviceError:  # an older driver
            return None
        own = (int(one.used) for one in found[: count.value] if one.pid == os.getpid())
        return next((used for used in own if used != _UNKNOWN), None)


def _gpu_of(nvml: Nvml, index: int) -> Gpu:
    """By its place on the bus: CUDA and NVML count GPUs in different orders."""
    try:
        cuda = ctypes.CDLL(_CUDA)
    except OSError as error:
        raise DeviceError("GPU memory cannot be measured here", str(error)) from error
    device, bus = ctypes.c_int(), ctypes.create_string_buffer(32)
    for name, arguments in (
        ("cuInit", (0,)),
        ("cuDeviceGet", (ctypes.byref(device), index)),
        ("cuDeviceGetPCIBusId", (bus, len(bus), device)),
    ):
        code = getattr(cuda, name)(*arguments)
        if code:
            raise DeviceError(
                "GPU memory cannot be measured here", f"{name} failed with error {code}"
            )
    handle = ctypes.c_void_p()
    nvml.call("nvmlDeviceGetHandleByPciBusId_v2", bus.value, ctypes.byref(handle))
    return Gpu(nvml, handle, index)
