"""CUDA through NVIDIA's cuda-bindings (the package cuda-python before 12.6), graphs included."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.metadata
from collections.abc import Iterator
from typing import Any

import numpy as np

from edgepose.runtime.cuda.base import (
    HOST_DEVICEMAP,
    HOST_PORTABLE,
    OUT_OF_MEMORY,
    STREAM_NON_BLOCKING,
    Cuda,
    CudaError,
    DeviceMemory,
    Event,
    Graph,
    HostMemory,
    Stream,
    out_of_memory,
)
from edgepose.trt.gpu import read_gpu

__all__ = ["CudaBindings", "find_driver"]

# Where the driver API lives: since 12.6, and before that (gone in 13).
_MODULES = ("cuda.bindings.driver", "cuda.cuda")
_DISTRIBUTIONS = ("cuda-bindings", "cuda-python")


def find_driver() -> Any:
    """The binding's module of the driver API.

    Raises:
        ImportError: There is none.
    """
    try:
        return importlib.import_module(_MODULES[0])
    except ImportError:
        return importlib.import_module(_MODULES[1])


class CudaBindings(Cuda):
    """A device through cuda-bindings. The driver API alone: no CUDA toolkit is needed.

    Raises:
        ImportError: The package is not installed.
        DeviceError: No driver, or no such device.
    """

    provider = "cuda-bindings"
    can_capture = True

    def __init__(self, index: int = 0) -> None:
        self._driver = find_driver()
        self.version = _version()
        self.gpu = read_gpu(index)
        self.index = index
        self._call("cuInit", 0)
        self._device = self._call("cuDeviceGet", index)
        self._context: Any = self._call("cuDevicePrimaryCtxRetain", self._device)

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """See :class:`Cuda`."""
        self._call("cuCtxPushCurrent", self._context)
        try:
            yield
        finally:
            self._call("cuCtxPopCurrent")

    def memory(self) -> tuple[int, int]:
        """See :class:`Cuda`."""
        free, total = self._call("cuMemGetInfo")
        return int(free), int(total)

    def create_stream(self) -> Stream:
        """See :class:`Cuda`."""
        native = self._call("cuStreamCreate", STREAM_NON_BLOCKING)
        return Stream(int(native), native)

    def destroy_stream(self, stream: Stream) -> None:
        """See :class:`Cuda`."""
        self._call("cuStreamDestroy", stream.native)

    def synchronise(self, stream: Stream) -> None:
        """See :class:`Cuda`."""
        self._call("cuStreamSynchronize", stream.native)

    def alloc(self, size: int) -> DeviceMemory:
        """See :class:`Cuda`."""
        native = self._allocate("cuMemAlloc", size, host=False)
        return DeviceMemory(int(native), size, native)

    def free(self, memory: DeviceMemory) -> None:
        """See :class:`Cuda`."""
        self._call("cuMemFree", memory.native)

    def alloc_host(self, size: int, *, mapped: bool = False) -> HostMemory:
        """See :class:`Cuda`."""
        flags = HOST_PORTABLE | (HOST_DEVICEMAP if mapped else 0)
        pointer = int(self._allocate("cuMemHostAlloc", size, flags, host=True))
        try:
            device = int(self._call("cuMemHostGetDevicePointer", pointer, 0)) if mapped else None
        except CudaError:
            self._call("cuMemFreeHost", pointer)
            raise
        array = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(pointer))
        array[:] = 0
        return HostMemory(array, device, pointer)

    def free_host(self, memory: HostMemory) -> None:
        """See :class:`Cuda`."""
        self._call("cuMemFreeHost", memory.native)

    def upload(self, host: HostMemory, device: DeviceMemory, size: int, stream: Stream) -> None:
        """See :class:`Cuda`."""
        self._call("cuMemcpyHtoDAsync", device.native, host.native, size, stream.native)

    def download(self, device: DeviceMemory, host: HostMemory, size: int, stream: Stream) -> None:
        """See :class:`Cuda`."""
        self._call("cuMemcpyDtoHAsync", host.native, device.native, size, stream.native)

    def create_event(self) -> Event:
        """See :class:`Cuda`."""
        return Event(self._call("cuEventCreate", 0))

    def destroy_event(self, event: Event) -> None:
        """See :class:`Cuda`."""
        self._call("cuEventDestroy", event.native)

    def record(self, event: Event, stream: Stream) -> None:
        """See :class:`Cuda`."""
        self._call("cuEventRecord", event.native, stream.native)

    def elapsed_ms(self, start: Event, end: Event) -> float:
        """See :class:`Cuda`."""
        return float(self._call("cuEventElapsedTime", start.native, end.native))

    def begin_capture(self, stream: Stream) -> None:
        """See :class:`Cuda`."""
        # The default mode forbids every other thread to allocate while this one captures.
        mode = self._driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._call("cuStreamBeginCapture", stream.native, mode)

    def end_capture(self, stream: Stream) -> Graph:
        """See :class:`Cuda`."""
        template = self._call("cuStreamEndCapture", stream.native)
        try:
            return Graph(self._call("cuGraphInstantiate", template, 0))
        finally:
            self._call("cuGraphDestroy", template)

    def launch(self, graph: Graph, stream: Stream) -> None:
        """See :class:`Cuda`."""
        self._call("cuGraphLaunch", graph.native, stream.native)

    def destroy_graph(self, graph: Graph) -> None:
        """See :class:`Cuda`."""
        self._call("cuGraphExecDestroy", graph.native)

    def close(self) -> None:
        """See :class:`Cuda`."""
        if self._context is not None:
            self._context = None
            self._call("cuDevicePrimaryCtxRelease", self._device)

    def _allocate(self, name: str, size: int, *more: int, host: bool) -> Any:
        try:
            return self._call(name, size, *more)
        except CudaError as error:
            if error.name != OUT_OF_MEMORY:
                raise
            raise out_of_memory(name, error.name, size, self._free_bytes(), host=host) from error

    def _free_bytes(self) -> int | None:
        try:
            return self.memory()[0]
        except CudaError:
            return None

    def _call(self, name: str, *arguments: Any) -> Any:
        """Call the driver; gives its result, a tuple where there are several."""
        try:
            status, *values = getattr(self._driver, name)(*arguments)
        except RuntimeError as error:  # a driver that is absent, or too old to have this call
            raise CudaError(name, str(error).strip(), None, _OLD_DRIVER) from error
        if int(status) != 0:
            raise CudaError(name, status.name)
        if not values:
            return None
        return values[0] if len(values) == 1 else tuple(values)


_OLD_DRIVER = "see what is wrong with the driver: edgepose doctor"


def _version() -> str:
    for name in _DISTRIBUTIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return "unknown"
