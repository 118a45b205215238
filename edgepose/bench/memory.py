"""Memory of this process and of the system, from what the system keeps of it."""

from __future__ import annotations

import ctypes
import gc
import platform
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from edgepose.errors import DeviceError

__all__ = ["Gauge", "PeakMemory", "available_bytes", "find_gauge", "pss_bytes", "settle"]

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")
_ROLLUP = Path("/proc/self/smaps_rollup")
_SYSTEM = Path("/proc/meminfo")

_NO_RESET = (
    "the peak of the process since it began ({}), which cannot be reset here: a figure is of all "
    "that was done until then, the smallest batch first"
)


@dataclass(frozen=True)
class Gauge:
    """How the memory of this process can be read here.

    Attributes:
        how: In words.
        resident: Bytes that are resident now.
        reset: Lets the peak begin again, where the system can.
        peak: Most bytes that were resident at once, since then.
    """

    how: str
    resident: Callable[[], int]
    reset: Callable[[], None]
    peak: Callable[[], int]


def find_gauge() -> Gauge:
    """The best gauge that this system has.

    Raises:
        DeviceError: It has none.
    """
    try:
        _field(_STATUS, "VmHWM")
    except (OSError, DeviceError):
        return _usage_gauge()
    try:
        _reset()
    except OSError:
        words, reset = _NO_RESET.format("VmHWM"), _nothing
    else:
        words, reset = "its peak (VmHWM), which was reset before each measurement", _reset
    return Gauge(
        f"resident set of the process (VmRSS), and {words}",
        lambda: _field(_STATUS, "VmRSS"),
        reset,
        lambda: _field(_STATUS, "VmHWM"),
    )


def settle() -> None:
    """Give back what is held without use: Python's cycles, and the holes in glibc's heap."""
    gc.collect()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def pss_bytes() -> int | None:
    """Proportional set size: shared pages count by the share of this process. None if unknown."""
    try:
        return _field(_ROLLUP, "Pss")
    except (OSError, DeviceError):
        return None


def available_bytes() -> int | None:
    """What the whole system could still give away without swapping; None if it does not say."""
    try:
        return _field(_SYSTEM, "MemAvailable")
    except (OSError, DeviceError):
        return None


class PeakMemory:
    """Measures by how much resident memory rises, at its highest, inside a ``with`` block.

    All of the process counts, its other threads included. What glibc's allocator holds without use
    is given back first; other allocators may use again, without any growth, what they kept: for
    figures that can be compared, measure once in a fresh process. Start it with
    ``MALLOC_MMAP_THRESHOLD_=16384``, and glibc gives every larger block back when it is freed, so
    that the peak is one of live memory.

    Attributes:
        before: Resident bytes on entry.
        growth: Highest resident bytes inside the block minus those; set on exit.

    Raises:
        DeviceError: The system does not keep these figures.
    """

    def __init__(self) -> None:
        self.before = 0
        self.growth = 0

    def __enter__(self) -> PeakMemory:
        settle()
        try:
            _reset()
        except OSError as error:
            raise DeviceError(
                "peak memory cannot be measured here",
                f"{_RESET}: {error.strerror or error}",
                "measure on Linux, where a process may reset its peak",
            ) from error
        self.before = _field(_STATUS, "VmRSS")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.growth = max(0, _field(_STATUS, "VmHWM") - self.before)


def _reset() -> None:
    _RESET.write_text("5")  # the peak starts again from what is resident now


def _nothing() -> None:
    """Of a peak that cannot be reset."""


def _usage_gauge() -> Gauge:
    """Where there is no /proc. Not on Linux: there a child's figure begins with its parent's."""
    try:
        import resource
    except ImportError as error:
        raise DeviceError(
            "memory cannot be measured here",
            f"{platform.system()} tells Python neither by /proc nor by getrusage",
            "measure on Linux or macOS",
        ) from error
    unit = 1 if sys.platform == "darwin" else 1024

    def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

    return Gauge(_NO_RESET.format("ru_maxrss"), peak, _nothing, peak)


def _field(path: Path, name: str) -> int:
    """Bytes of a line such as ``VmRSS:  1234 kB``."""
    match = re.search(rf"^{name}:\s+(\d+) kB$", path.read_text(), re.MULTILINE)
    if match is None:
        raise DeviceError("memory cannot be measured here", f"{path} has no {name}")
    return int(match[1]) * 1024
