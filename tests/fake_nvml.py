"""NVIDIA's management library as an object: functions that fill what ctypes hands them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from edgepose.errors import DeviceError
from edgepose.nvml import Nvml

UNSUPPORTED = 3


@dataclass
class Card:
    """A GPU. A figure that is None is not supported."""

    name: str = "NVIDIA H100 80GB HBM3"
    uuid: str = "GPU-5e3f0000-1111-2222-3333-444444444444"
    used_bytes: int | None = 2**30
    clocks: dict[int, int] | None = field(default_factory=lambda: {0: 1980, 2: 2619})
    highest: dict[int, int] | None = field(default_factory=lambda: {0: 1980, 2: 2619})
    celsius: int | None = 41
    state: int | None = 0
    reasons: int | None = 0
    violations_ns: dict[int, int] | None = field(default_factory=lambda: {0: 0, 1: 0})
    milliwatts: int | None = 118_400
    limit_milliwatts: int | None = 700_000
    millijoules: Callable[[], int] | None = lambda: 5_000_000_000
    mig: int | None = 0


class Library:
    """What :class:`ctypes.CDLL` would give."""

    def __init__(self, *cards: Card, init: int = 0, driver: str = "580.95.05") -> None:
        self.cards = cards
        self.init = init
        self.driver = driver
        self.open = 0

    def nvmlInit_v2(self) -> int:
        self.open += self.init == 0
        return self.init

    def nvmlShutdown(self) -> int:
        self.open -= 1
        return 0

    def nvmlSystemGetDriverVersion(self, text: Any, size: int) -> int:
        text.value = self.driver.encode()
        return 0

    def nvmlDeviceGetCount_v2(self, count: Any) -> int:
        count._obj.value = len(self.cards)
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: int, handle: Any) -> int:
        if index >= len(self.cards):
            return 6
        handle._obj.value = index + 1  # no handle is null
        return 0

    def __getattr__(self, function: str) -> Callable[..., int]:
        if function not in _ANSWERS:
            raise AttributeError(function)

        def answer(handle: Any, *arguments: Any) -> int:
            value = _ANSWERS[function](self.cards[handle.value - 1], *arguments[:-1])
            if value is None:
                return UNSUPPORTED
            arguments[-1]._obj.value = value
            return 0

        return answer

    def nvmlDeviceGetName(self, handle: Any, text: Any, size: int) -> int:
        text.value = self.cards[handle.value - 1].name.encode()
        return 0

    def nvmlDeviceGetUUID(self, handle: Any, text: Any, size: int) -> int:
        text.value = self.cards[handle.value - 1].uuid.encode()
        return 0

    def nvmlDeviceGetMemoryInfo(self, handle: Any, memory: Any) -> int:
        used = self.cards[handle.value - 1].used_bytes
        if used is None:
            return UNSUPPORTED
        memory._obj.used = used
        return 0

    def nvmlDeviceGetViolationStatus(self, handle: Any, policy: int, time: Any) -> int:
        held = self.cards[handle.value - 1].violations_ns
        if held is None:
            return UNSUPPORTED
        time._obj.violation = held[policy]
        return 0

    def nvmlDeviceGetMigMode(self, handle: Any, now: Any, later: Any) -> int:
        mig = self.cards[handle.value - 1].mig
        if mig is None:
            return UNSUPPORTED
        now._obj.value = later._obj.value = mig
        return 0


_ANSWERS: dict[str, Callable[..., int | None]] = {
    "nvmlDeviceGetClockInfo": lambda card, kind: card.clocks and card.clocks[kind],
    "nvmlDeviceGetMaxClockInfo": lambda card, kind: card.highest and card.highest[kind],
    "nvmlDeviceGetTemperature": lambda card, sensor: card.celsius,
    "nvmlDeviceGetPerformanceState": lambda card: card.state,
    "nvmlDeviceGetCurrentClocksThrottleReasons": lambda card: card.reasons,
    "nvmlDeviceGetPowerUsage": lambda card: card.milliwatts,
    "nvmlDeviceGetEnforcedPowerLimit": lambda card: card.limit_milliwatts,
    "nvmlDeviceGetTotalEnergyConsumption": lambda card: card.millijoules and card.millijoules(),
}


# What the library of a Jetson has to say: its name.
TEGRA = Card(
    name="Orin (nvgpu)",
    used_bytes=None,
    clocks=None,
    highest=None,
    celsius=None,
    state=None,
    reasons=None,
    violations_ns=None,
    milliwatts=None,
    limit_milliwatts=None,
    millijoules=None,
    mig=None,
)


def opener(library: Library) -> Callable[[], tuple[Nvml | None, str]]:
    """As ``open_nvml``, of that library."""

    def open_nvml() -> tuple[Nvml | None, str]:
        try:
            return Nvml(library), ""
        except DeviceError as error:
            return None, error.why or error.what

    return open_nvml


def none_here() -> tuple[Nvml | None, str]:
    """As ``open_nvml`` on a machine without a driver."""
    return None, "no NVIDIA driver: its library libnvidia-ml.so.1 is not here"
