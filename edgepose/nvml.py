"""NVIDIA's management library, which comes with the driver: clocks, heat, power and memory of GPUs.

A binding by ctypes of the few functions that are asked for. Names, structures and numbers are from
NVIDIA's NVML API reference (``nvml.h``). A Jetson's library answers most questions with "not
supported": its figures are in the kernel's files instead.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgepose.closing import Closing
from edgepose.errors import DeviceError

__all__ = ["SLOWDOWNS", "Gpu", "Nvml", "open_nvml"]

_LIBRARY = "nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1"

# nvmlReturn_t
_MEANINGS = {
    1: "the library was not initialised",
    2: "it takes no such argument",
    3: "this GPU or driver does not support it",
    4: "this user has no permission",
    6: "there is no such GPU",
    9: "the NVIDIA driver is not loaded",
    12: "a library of the driver is missing",
    13: "the driver's library does not have it",
    15: "the GPU has fallen off the bus",
    17: "the operating system or a container blocks the GPU",
    18: "the driver and its library are of different versions: restart the machine",
    999: "the driver gives no reason",
}
# Bits of nvmlDeviceGetCurrentClocksThrottleReasons that mean a GPU runs slower than it could. The
# others are no trouble: 0x1 idle, 0x2 clocks set by an application, 0x10 boost in step with other
# GPUs, 0x100 clocks of the display.
SLOWDOWNS = {
    0x4: "the power limit",
    0x8: "a hardware slowdown (heat or power supply)",
    0x20: "heat (the driver slows it down)",
    0x40: "heat (the hardware slows it down)",
    0x80: "the power supply's brake",
    0x200: "the board's limit",
    0x400: "the voltage's reliability",
}
# nvmlClockType_t, nvmlTemperatureSensors_t, nvmlPerfPolicyType_t
_GRAPHICS, _MEMORY = 0, 2
_CORE = 0
_POLICIES = {"power": 0, "heat": 1}
_NO_STATE = 32


class _Memory(ctypes.Structure):
    """``nvmlMemory_t``: bytes."""

    _fields_ = (
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


class _Violation(ctypes.Structure):
    """``nvmlViolationTime_t``: microseconds of a clock, and nanoseconds of violation."""

    _fields_ = (("reference", ctypes.c_ulonglong), ("violation", ctypes.c_ulonglong))


class Nvml(Closing):
    """The library, initialised. A context manager.

    Args:
        library: What :class:`ctypes.CDLL` gives.

    Raises:
        DeviceError: It cannot be initialised, or (from any method) does not answer; says why.
    """

    def __init__(self, library: Any) -> None:
        self._library = library
        self.call("nvmlInit_v2")

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function that returns a code.

        Raises:
            DeviceError: The code is not 0, or this driver's library has no such function.
        """
        function = getattr(self._library, name, None)
        code = 13 if function is None else function(*arguments)
        if code:
            meaning = _MEANINGS.get(code, "see nvmlReturn_t in NVIDIA's NVML reference")
            raise DeviceError(
                "the GPU does not tell", f"{name} failed with error {code}: {meaning}"
            )

    def gpus(self) -> list[Gpu]:
        """All GPUs, in the order of their slots."""
        count = ctypes.c_uint()
        self.call("nvmlDeviceGetCount_v2", ctypes.byref(count))
        return [self.gpu(index) for index in range(count.value)]

    def gpu(self, index: int) -> Gpu:
        """One GPU by its number, counted by slots (``nvidia-smi``'s and CUDA's PCI_BUS_ID order).

        Raises:
            DeviceError: There is no GPU of that number.
        """
        handle = ctypes.c_void_p()
        self.call("nvmlDeviceGetHandleByIndex_v2", index, ctypes.byref(handle))
        return Gpu(self, handle, index)

    def visible_gpus(self, environment: Mapping[str, str] = os.environ) -> list[Gpu]:
        """The GPUs that CUDA may use in this process and its children.

        Raises:
            DeviceError: ``CUDA_VISIBLE_DEVICES`` says numbers that CUDA counts in another order.
        """
        gpus = self.gpus()
        said = environment.get("CUDA_VISIBLE_DEVICES")
        if said is None:
            return gpus
        words = [word.strip() for word in said.split(",") if word.strip()]
        if any(word.isdecimal() for word in words):
            by_slot = environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
            if not by_slot and len({gpu.name() for gpu in gpus}) > 1:
                raise DeviceError(
                    "it is not known which GPU is meant",
                    "CUDA numbers different GPUs by their speed, NVML by their slots",
                    "set CUDA_DEVICE_ORDER=PCI_BUS_ID, so that both count alike",
                )
        chosen = []
        for word in words:
            # CUDA, too, ignores what follows the first one that it does not find.
            found = [gpu for gpu in gpus if word == str(gpu.index) or gpu.uuid().startswith(word)]
            if not found:
                break
            chosen.append(found[0])
        return chosen

    def driver(self) -> str:
        """Version of the driver, e.g. ``580.95.05``."""
        text = ctypes.create_string_buffer(96)
        self.call("nvmlSystemGetDriverVersion", text, len(text))
        return text.value.decode(errors="replace")

    def close(self) -> None:
        """Let go of the library; others in this process may go on with it."""
        shutdown = getattr(self._library, "nvmlShutdown", None)
        if shutdown is not None:
            shutdown()


@dataclass(frozen=True)
class Gpu:
    """One GPU. Every method raises :class:`DeviceError` where the GPU does not tell.

    Attributes:
        nvml: The library.
        handle: Its handle there.
        index: Its number there.
    """

    nvml: Nvml
    handle: ctypes.c_void_p
    index: int

    def name(self) -> str:
        """As the driver calls it, e.g. ``NVIDIA H100 80GB HBM3``."""
        return self._text("nvmlDeviceGetName")

    def uuid(self) -> str:
        """``GPU-`` and its number for life."""
        return self._text("nvmlDeviceGetUUID")

    def used_bytes(self) -> int:
        """Memory in use, by whomever."""
        memory = _Memory()
        self._call("nvmlDeviceGetMemoryInfo", ctypes.byref(memory))
        return int(memory.used)

    def clocks_mhz(self) -> dict[str, int]:
        """``graphics`` and ``memory`` clock, MHz."""
        kinds = {"graphics": _GRAPHICS, "memory": _MEMORY}
        return {kind: self._number("nvmlDeviceGetClockInfo", n) for kind, n in kinds.items()}

    def highest_clocks_mhz(self) -> dict[str, int]:
        """The same clocks at their highest, MHz."""
        kinds = {"graphics": _GRAPHICS, "memory": _MEMORY}
        return {kind: self._number("nvmlDeviceGetMaxClockInfo", n) for kind, n in kinds.items()}

    def celsius(self) -> int:
        """Temperature of the chip."""
        return self._number("nvmlDeviceGetTemperature", _CORE)

    def state(self) -> str:
        """Performance state, ``P0`` (highest) to ``P15``."""
        number = self._number("nvmlDeviceGetPerformanceState")
        return "unknown" if number == _NO_STATE else f"P{number}"

    def slowdowns(self) -> list[str]:
        """Why it runs slower than it could at this moment: values of :data:`SLOWDOWNS`."""
        bits = ctypes.c_ulonglong()
        # Newer drivers call it ...ClocksEventReasons as well, and keep this name.
        self._call("nvmlDeviceGetCurrentClocksThrottleReasons", ctypes.byref(bits))
        return [words for bit, words in SLOWDOWNS.items() if bits.value & bit]

    def held_seconds(self) -> dict[str, float]:
        """For how long ``power`` and ``heat`` have held its clocks down since the driver began."""
        found = {}
        for reason, policy in _POLICIES.items():
            time = _Violation()
            self._call("nvmlDeviceGetViolationStatus", policy, ctypes.byref(time))
            found[reason] = time.violation / 1e9
        return found

    def watts(self) -> float:
        """Power of the board; a mean of the last second on Ampere (but not GA100) and later."""
        return self._number("nvmlDeviceGetPowerUsage") / 1e3

    def limit_watts(self) -> float:
        """The power limit in force."""
        return self._number("nvmlDeviceGetEnforcedPowerLimit") / 1e3

    def joules(self) -> float:
        """Energy since the driver was loaded; Volta and later."""
        value = ctypes.c_ulonglong()
        self._call("nvmlDeviceGetTotalEnergyConsumption", ctypes.byref(value))
        return value.value / 1e3

    def divided(self) -> bool:
        """Whether it is divided into instances (MIG)."""
        now, later = ctypes.c_uint(), ctypes.c_uint()
        try:
            self._call("nvmlDeviceGetMigMode", ctypes.byref(now), ctypes.byref(later))
        except DeviceError:  # before Ampere, and all that cannot be
            return False
        return now.value == 1

    def _call(self, name: str, *arguments: Any) -> None:
        self.nvml.call(name, self.handle, *arguments)

    def _number(self, name: str, *arguments: Any) -> int:
        value = ctypes.c_uint()
        self._call(name, *arguments, ctypes.byref(value))
        return value.value

    def _text(self, name: str) -> str:
        text = ctypes.create_string_buffer(96)
        self._call(name, text, len(text))
        return text.value.decode(errors="replace")


def open_nvml() -> tuple[Nvml | None, str]:
    """The library, or None and why there is none. The caller closes it."""
    try:
        return Nvml(ctypes.CDLL(_LIBRARY)), ""
    except OSError:
        return None, f"no NVIDIA driver: its library {_LIBRARY} is not here"
    except DeviceError as error:
        return None, error.why or error.what
