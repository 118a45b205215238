"""The one small interface between a runner and CUDA, and its errors.

What a runner needs of CUDA is little: a stream, memory on both sides, copies between them, two
events to time with and, where the binding has them, graphs. Each binding of CUDA to Python gives
it in one file beside this one, all on the device's *primary* context, which is also the one of
TensorRT, torch and onnxruntime, so that they share a process.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgepose.errors import DeviceError
from edgepose.trt.gpu import Gpu

__all__ = [
    "OUT_OF_MEMORY",
    "Cuda",
    "CudaError",
    "DeviceMemory",
    "Event",
    "Graph",
    "HostMemory",
    "Stream",
]

# CUDA's own names (CUresult, CUstream_flags, CU_MEMHOSTALLOC_*), the same in every version.
OUT_OF_MEMORY = "CUDA_ERROR_OUT_OF_MEMORY"
STREAM_NON_BLOCKING = 1
HOST_PORTABLE = 1
HOST_DEVICEMAP = 2


class CudaError(DeviceError):
    """A call of CUDA that failed.

    Args:
        call: Name of the call, e.g. ``cuMemAlloc``.
        name: CUDA's name of the error, or its words where the binding gives no name.
        detail: What else is known.
        hint: As for the base.
    """

    def __init__(
        self, call: str, name: str, detail: str | None = None, hint: str | None = None
    ) -> None:
        self.call = call
        self.name = name
        why = name if detail is None else f"{name} ({detail})"
        super().__init__(f"CUDA's {call} failed", why, hint)


def out_of_memory(call: str, name: str, asked: int, free: int | None, *, host: bool) -> CudaError:
    """The error of an allocation of ``asked`` bytes with ``free`` bytes left on the device."""
    detail = f"asked for {_mib(asked)}" + (" of page-locked memory" if host else "")
    if free is not None:
        detail += f"; {_mib(free)} of GPU memory are free"
    hint = "close what else uses the GPU, or build the engine for a smaller batch: --batch 1"
    return CudaError(call, name, detail, hint)


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"


@dataclass(frozen=True, eq=False)
class Stream:
    """A stream. ``handle`` is what TensorRT takes."""

    handle: int
    native: Any


@dataclass(frozen=True, eq=False)
class DeviceMemory:
    """``size`` bytes on the device at ``pointer``."""

    pointer: int
    size: int
    native: Any


@dataclass(frozen=True, eq=False)
class HostMemory:
    """Page-locked memory.

    Attributes:
        array: The bytes, (size,) uint8. No view of it may outlive the memory.
        device_pointer: Where the device sees the same bytes; None if they are not mapped.
        native: The binding's own.
    """

    array: npt.NDArray[np.uint8]
    device_pointer: int | None
    native: Any


@dataclass(frozen=True, eq=False)
class Event:
    """A point in a stream."""

    native: Any


@dataclass(frozen=True, eq=False)
class Graph:
    """Captured work, ready to launch."""

    native: Any


class Cuda(ABC):
    """One device through one binding. All calls but :meth:`close` need :meth:`active` around them.

    Every call raises :class:`CudaError` where CUDA refuses.

    Attributes:
        provider: ``pycuda`` or ``cuda-bindings``.
        version: Of the binding.
        can_capture: Whether it has graphs.
        gpu: The device.
        index: Its number.
    """

    provider: str
    version: str
    can_capture: bool
    gpu: Gpu
    index: int

    @abstractmethod
    def active(self) -> AbstractContextManager[None]:
        """The device's primary context on this thread while the block runs.

        What was there before is there again after it. TensorRT's calls need it too.
        """

    @abstractmethod
    def memory(self) -> tuple[int, int]:
        """Free and total bytes. Where the GPU shares the CPU's memory, of the whole system."""

    @abstractmethod
    def create_stream(self) -> Stream:
        """A stream that never waits for the default stream, which torch and others work in."""

    @abstractmethod
    def destroy_stream(self, stream: Stream) -> None:
        """Give it back."""

    @abstractmethod
    def synchronise(self, stream: Stream) -> None:
        """Wait for all its work. Errors of earlier asynchronous work show here."""

    @abstractmethod
    def alloc(self, size: int) -> DeviceMemory:
        """``size`` bytes on the device, aligned to 256 at least."""

    @abstractmethod
    def free(self, memory: DeviceMemory) -> None:
        """Give it back."""

    @abstractmethod
    def alloc_host(self, size: int, *, mapped: bool = False) -> HostMemory:
        """``size`` page-locked bytes, all zero; the device reads and writes them if ``mapped``."""

    @abstractmethod
    def free_host(self, memory: HostMemory) -> None:
        """Give it back."""

    @abstractmethod
    def upload(self, host: HostMemory, device: DeviceMemory, size: int, stream: Stream) -> None:
        """Put a copy of the first ``size`` bytes to the device into the stream."""

    @abstractmethod
    def download(self, device: DeviceMemory, host: HostMemory, size: int, stream: Stream) -> None:
        """Put a copy of the first ``size`` bytes from the device into the stream."""

    @abstractmethod
    def create_event(self) -> Event:
        """An event that keeps its time."""

    @abstractmethod
    def destroy_event(self, event: Event) -> None:
        """Give it back."""

    @abstractmethod
    def record(self, event: Event, stream: Stream) -> None:
        """Put the event into the stream."""

    @abstractmethod
    def elapsed_ms(self, start: Event, end: Event) -> float:
        """Milliseconds between two events, on the device's clock. Both must be over."""

    @abstractmethod
    def begin_capture(self, stream: Stream) -> None:
        """From here on the stream's work is noted down, not done. Of this thread alone."""

    @abstractmethod
    def end_capture(self, stream: Stream) -> Graph:
        """The work since :meth:`begin_capture`, ready to launch. Ends the capture in any case."""

    @abstractmethod
    def launch(self, graph: Graph, stream: Stream) -> None:
        """Put the captured work into the stream."""

    @abstractmethod
    def destroy_graph(self, graph: Graph) -> None:
        """Give it back."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the context. May be called twice. What was made in it must be gone before."""
