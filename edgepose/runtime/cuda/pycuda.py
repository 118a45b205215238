"""CUDA through pycuda, the usual one on JetPack. It has no CUDA graphs."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

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

__all__ = ["PyCuda", "find_driver"]

_Result = TypeVar("_Result")

# The primary contexts, retained once and never released: the driver does that when the process
# ends. pycuda releases one by pushing it and then never popping it, which would leave a dead
# context on the caller's thread; and where Python destroys its object, it detaches the context as
# if it were no primary one, which fails with words on stderr.
_contexts: dict[int, Any] = {}
_lock = threading.Lock()


def find_driver() -> Any:
    """The module of the driver API.

    Raises:
        ImportError: It is not installed, or the driver's library is missing.
    """
    return importlib.import_module("pycuda.driver")


class PyCuda(Cuda):
    """A device through pycuda.

    pycuda keeps a stack of contexts per thread beside CUDA's own, and gives memory back only where
    its stack says that the context is current; so all goes through :meth:`active`.
    ``pycuda.autoinit`` is never imported: it would make a second context, which neither TensorRT
    nor torch works in.

    Raises:
        ImportError: pycuda is not installed.
        DeviceError: No driver, or no such device.
    """

    provider = "pycuda"
    can_capture = False

    def __init__(self, index: int = 0) -> None:
        self.gpu = read_gpu(index)
        self._driver = find_driver()
        self.version = str(importlib.import_module("pycuda").VERSION_TEXT)
        self.index = index
        self._context = self._primary_context(index)

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """See :class:`Cuda`."""
        self._call("cuCtxPushCurrent", self._context.push)
        try:
            yield
        finally:
            self._call("cuCtxPopCurrent", self._driver.Context.pop)

    def memory(self) -> tuple[int, int]:
        """See :class:`Cuda`."""
        free, total = self._call("cuMemGetInfo", self._driver.mem_get_info)
        return int(free), int(total)

    def create_stream(self) -> Stream:
        """See :class:`Cuda`."""
        native = self._call("cuStreamCreate", lambda: self._driver.Stream(STREAM_NON_BLOCKING))
        return Stream(int(native.handle), _Last(native))

    def destroy_stream(self, stream: Stream) -> None:
        """See :class:`Cuda`."""
        stream.native.drop()

    def synchronise(self, stream: Stream) -> None:
        """See :class:`Cuda`."""
        self._call("cuStreamSynchronize", lambda: stream.native.held.synchronize())

    def alloc(self, size: int) -> DeviceMemory:
        """See :class:`Cuda`."""
        native = self._allocate(
            "cuMemAlloc", size, lambda: self._driver.mem_alloc(size), host=False
        )
        return DeviceMemory(int(native), size, native)

    def free(self, memory: DeviceMemory) -> None:
        """See :class:`Cuda`."""
        self._call("cuMemFree", memory.native.free)

    def alloc_host(self, size: int, *, mapped: bool = False) -> HostMemory:
        """See :class:`Cuda`."""
        flags = HOST_PORTABLE | (HOST_DEVICEMAP if mapped else 0)
        array = self._allocate(
            "cuMemHostAlloc",
            size,
            lambda: self._driver.pagelocked_empty(size, np.uint8, mem_flags=flags),
            host=True,
        )
        native = array.base
        try:
            device = (
                int(self._call("cuMemHostGetDevicePointer", native.get_device_pointer))
                if mapped
                else None
            )
        except CudaError:
            self._call("cuMemFreeHost", native.free)
            raise
        array[:] = 0
        return HostMemory(array, device, native)

    def free_host(self, memory: HostMemory) -> None:
        """See :class:`Cuda`."""
        self._call("cuMemFreeHost", memory.native.free)

    def upload(self, host: HostMemory, device: DeviceMemory, size: int, stream: Stream) -> None:
        """See :class:`Cuda`."""
        copy = self._driver.memcpy_htod_async
        self._call(
            "cuMemcpyHtoDAsync",
            lambda: copy(device.pointer, host.array[:size], stream.native.held),
        )

    def download(self, device: DeviceMemory, host: HostMemory, size: int, stream: Stream) -> None:
        """See :class:`Cuda`."""
        copy = self._driver.memcpy_dtoh_async
        self._call(
            "cuMemcpyDtoHAsync",
            lambda: copy(host.array[:size], device.pointer, stream.native.held),
        )

    def create_event(self) -> Event:
        """See :class:`Cuda`."""
        return Event(_Last(self._call("cuEventCreate", lambda: self._driver.Event(0))))

    def destroy_event(self, event: Event) -> None:
        """See :class:`Cuda`."""
        event.native.drop()

    def record(self, event: Event, stream: Stream) -> None:
        """See :class:`Cuda`."""
        self._call("cuEventRecord", lambda: event.native.held.record(stream.native.held))

    def elapsed_ms(self, start: Event, end: Event) -> float:
        """See :class:`Cuda`."""
        return float(
            self._call("cuEventElapsedTime", lambda: end.native.held.time_since(start.native.held))
        )

    def begin_capture(self, stream: Stream) -> None:
        """Raises: pycuda has no graphs."""
        raise _no_graphs("cuStreamBeginCapture")

    def end_capture(self, stream: Stream) -> Graph:
        """Raises: pycuda has no graphs."""
        raise _no_graphs("cuStreamEndCapture")

    def launch(self, graph: Graph, stream: Stream) -> None:
        """Raises: pycuda has no graphs."""
        raise _no_graphs("cuGraphLaunch")

    def destroy_graph(self, graph: Graph) -> None:
        """Raises: pycuda has no graphs."""
        raise _no_graphs("cuGraphExecDestroy")

    def close(self) -> None:
        """The context stays: see the note at the top of this file."""

    def _primary_context(self, index: int) -> Any:
        with _lock:
            if index not in _contexts:
                self._call("cuInit", self._driver.init)
                device = self._call("cuDeviceGet", lambda: self._driver.Device(index))
                context = self._call("cuDevicePrimaryCtxRetain", device.retain_primary_context)
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(context))
                _contexts[index] = context
            return _contexts[index]

    def _allocate(
        self, name: str, size: int, allocate: Callable[[], _Result], *, host: bool
    ) -> _Result:
        try:
            return self._call(name, allocate)
        except CudaError as error:
            if error.name != OUT_OF_MEMORY:
                raise
            raise out_of_memory(name, error.name, size, self._free_bytes(), host=host) from error

    def _free_bytes(self) -> int | None:
        try:
            return self.memory()[0]
        except CudaError:
            return None

    def _call(self, name: str, call: Callable[[], _Result]) -> _Result:
        try:
            return call()
        except self._driver.Error as error:
            # pycuda's words are "cuMemAlloc failed: out of memory".
            made, _, words = str(error).partition(" failed: ")
            code = OUT_OF_MEMORY if isinstance(error, self._driver.MemoryError) else words
            raise CudaError(made if words else name, code or str(error)) from error


class _Last:
    """The one reference to an object that pycuda destroys when nothing refers to it any more.

    Nobody keeps what is ``held`` in a variable: the traceback of an error would hold it too.
    """

    def __init__(self, held: Any) -> None:
        self.held = held

    def drop(self) -> None:
        self.held = None


def _no_graphs(call: str) -> CudaError:
    return CudaError(call, "pycuda has no CUDA graphs", None, "pip install cuda-bindings")
