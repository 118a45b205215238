"""Power of an NVIDIA GPU in a PC or server, from its driver."""

from __future__ import annotations

from edgepose.bench.power.meter import Unit
from edgepose.errors import DeviceError
from edgepose.nvml import Gpu

__all__ = ["GpuMeter"]


class GpuMeter:
    """The GPU's energy counter (Volta and later), else its power.

    Args:
        gpu: Of a library that is open, and that the caller closes after this meter.

    Raises:
        DeviceError: It tells neither, as on a Jetson.
    """

    # The power is a mean of the last second on most GPUs. The counter moves in steps of up to 0.1 s
    # and lags likewise: others find it exact over 5 s, and a quarter short over half a second.
    settle_s = 1.0

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self.unit: Unit = "joules"
        try:
            gpu.joules()
        except DeviceError:
            self.unit = "watts"
            gpu.watts()
        rail = f"GPU {gpu.index} {gpu.name()}"
        self.name = "NVML"
        self.scope = f"the board of GPU {gpu.index}"
        if gpu.divided():
            self.scope += " with all instances that it is divided into (MIG)"
        self.rails = (rail,)
        self.total = (rail,)

    def read(self) -> dict[str, float]:
        """Joules since the driver was loaded, or watts."""
        value = self._gpu.joules() if self.unit == "joules" else self._gpu.watts()
        return {self.rails[0]: value}

    def close(self) -> None:
        """Nothing to end."""
