"""Peak memory of this process, from what Linux keeps of it."""

from __future__ import annotations

import ctypes
import gc
import platform
import re
from pathlib import Path
from types import TracebackType

from edgepose.errors import DeviceError

__all__ = ["PeakMemory"]

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


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
        gc.collect()
        if platform.libc_ver()[0] == "glibc":
            ctypes.CDLL(None).malloc_trim(0)
        try:
            _RESET.write_text("5")  # the peak starts again from what is resident now
        except OSError as error:
            raise DeviceError(
                "peak memory cannot be measured here",
                f"{_RESET}: {error.strerror or error}",
                "measure on Linux, where a process may reset its peak",
            ) from error
        self.before = _resident("VmRSS")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.growth = max(0, _resident("VmHWM") - self.before)


def _resident(field: str) -> int:
    """Bytes of a line such as ``VmRSS:  1234 kB``."""
    match = re.search(rf"^{field}:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    if match is None:
        raise DeviceError("peak memory cannot be measured here", f"{_STATUS} has no {field}")
    return int(match[1]) * 1024
