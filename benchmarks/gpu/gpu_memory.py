"""How much of the GPU's memory is in use, by whomever, from the driver's management library."""

from __future__ import annotations

from edgepose.errors import DeviceError
from edgepose.nvml import open_nvml

__all__ = ["used_mib"]


def used_mib(index: int = 0) -> float | None:
    """MiB in use; None where the library is absent or does not say (Jetson)."""
    nvml, _ = open_nvml()
    if nvml is None:
        return None
    with nvml:
        try:
            return round(nvml.gpu(index).used_bytes() / 2**20, 1)
        except DeviceError:
            return None
