"""Which meters this machine has, and why it lacks the others."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

from edgepose.bench.power.gpu import GpuMeter
from edgepose.bench.power.ina import InaMeter
from edgepose.bench.power.jetson_stats import JtopMeter
from edgepose.bench.power.meter import Meter
from edgepose.bench.power.rapl import RaplMeter
from edgepose.bench.power.tegrastats import TegrastatsMeter
from edgepose.closing import Closing
from edgepose.errors import DeviceError
from edgepose.jetson import find_board
from edgepose.nvml import Nvml, open_nvml
from edgepose.system import System

__all__ = ["Found", "Tried", "find_meters"]


@dataclass(frozen=True)
class Tried:
    """A meter that is not to be had here.

    Attributes:
        meter: Which.
        why: The reason, and what to do about it where there is something.
    """

    meter: str
    why: str


@dataclass(frozen=True)
class Found(Closing):
    """Meters that tell something here. A context manager that closes them.

    Attributes:
        meters: To be read together: what they cover does not overlap.
        tried: The others, and why not.
    """

    meters: tuple[Meter, ...]
    tried: tuple[Tried, ...]
    _closing: ExitStack = field(default_factory=ExitStack, repr=False)

    @property
    def why_none(self) -> str:
        """Why there is no meter, as a sentence."""
        reasons = "; ".join(f"{tried.meter}: {tried.why}" for tried in self.tried)
        return f"power is not readable here, because no meter tells it: {reasons}"

    def close(self) -> None:
        """End the meters."""
        self._closing.close()


def find_meters(
    system: System | None = None, nvml: Callable[[], tuple[Nvml | None, str]] = open_nvml
) -> Found:
    """Look for meters. The caller closes what is found.

    A Jetson has its board's power monitor, read by the first of the kernel's files, tegrastats and
    jetson-stats that tells it. Elsewhere the processor (RAPL) and the GPUs that CUDA may use (NVML)
    have counters of their own.

    Args:
        system: The machine; this one by default.
        nvml: Gives NVIDIA's library, or why there is none.
    """
    system = system or System()
    found = _Finding()
    if find_board(system) is not None:
        kinds: tuple[tuple[str, Callable[[], Meter]], ...] = (
            ("INA3221", lambda: InaMeter(system)),
            ("tegrastats", TegrastatsMeter),
            ("jetson-stats", JtopMeter),
        )
        for name, make in kinds:
            if not found.meters:
                found.attempt(name, make)
    else:
        found.attempt("RAPL", lambda: RaplMeter(system))
        _find_gpus(found, nvml)
        found.tried.append(
            Tried("INA3221, tegrastats, jetson-stats", "only a Jetson has them, and this is none")
        )
    return Found(tuple(found.meters), tuple(found.tried), found.closing)


class _Finding:
    """What has been found so far."""

    def __init__(self) -> None:
        self.meters: list[Meter] = []
        self.tried: list[Tried] = []
        self.closing = ExitStack()

    def attempt(self, name: str, make: Callable[[], Meter]) -> None:
        try:
            meter = make()
        except DeviceError as error:
            self.tried.append(Tried(name, _words(error)))
            return
        self.meters.append(meter)
        self.closing.callback(meter.close)


def _find_gpus(found: _Finding, open_library: Callable[[], tuple[Nvml | None, str]]) -> None:
    nvml, why = open_library()
    if nvml is None:
        found.tried.append(Tried("NVML", why))
        return
    found.closing.callback(nvml.close)
    try:
        gpus = nvml.visible_gpus()
    except DeviceError as error:
        found.tried.append(Tried("NVML", _words(error)))
        return
    if not gpus:
        found.tried.append(Tried("NVML", "the driver shows no GPU, or CUDA_VISIBLE_DEVICES none"))
    for gpu in gpus:
        found.attempt(f"NVML of GPU {gpu.index}", partial(GpuMeter, gpu))


def _words(error: DeviceError) -> str:
    why = f"{error.what}: {error.why}" if error.why else error.what
    return f"{why}. Next: {error.hint}" if error.hint else why
