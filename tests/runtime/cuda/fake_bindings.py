"""cuda-bindings and pycuda without CUDA: modules with just the names of ``names.json``.

They keep to the rules that the real ones were read or seen to have: pycuda has its own stack of
contexts per thread and gives memory back only where that says so, and destroys streams and events
when Python does; cuda-bindings gives tuples that begin with a status.
"""

from __future__ import annotations

import enum
import gc
import itertools
import threading
import types
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.runtime.cuda.names import TABLE

FREE = 1 << 20  # bytes of device memory
PRIMARY = "the primary context"


class Result(enum.IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_INVALID_CONTEXT = 201
    CUDA_ERROR_INVALID_HANDLE = 400
    CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900


class Refused(Exception):
    """A call that CUDA refuses."""

    def __init__(self, call: str, result: Result) -> None:
        self.call, self.result = call, result
        super().__init__(f"{call}: {result.name}")


class Driver:
    """The state of a driver, and its calls under their C names.

    Attributes:
        calls: Names, in order.
        live: Handle -> what it is.
        retained: How often the primary context is retained.
        fail: Call -> the result it gives.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.live: dict[int, Any] = {}
        self.retained = 0
        self.fail: dict[str, Result] = {}
        self._handles = itertools.count(0x7000, 0x100)
        self._local = threading.local()
        self.capturing: set[int] = set()

    @property
    def stack(self) -> list[str]:
        """Of contexts, on this thread."""
        if not hasattr(self._local, "stack"):
            self._local.stack = []
        stack: list[str] = self._local.stack
        return stack

    def enter(self, call: str, *handles: int, context: bool = True) -> None:
        self.calls.append(call)
        if call in self.fail:
            raise Refused(call, self.fail[call])
        if context and not self.stack:
            raise Refused(call, Result.CUDA_ERROR_INVALID_CONTEXT)
        if any(handle not in self.live for handle in handles):
            raise Refused(call, Result.CUDA_ERROR_INVALID_HANDLE)

    def make(self, kind: Any) -> int:
        handle = next(self._handles)
        self.live[handle] = kind
        return handle

    def array(self, pointer: int, size: int) -> np.ndarray:
        memory = self.live[pointer]
        if size > len(memory):
            raise Refused("copy", Result.CUDA_ERROR_INVALID_VALUE)
        return memory[:size]

    def cuInit(self, flags: int) -> None:
        self.enter("cuInit", context=False)

    def cuDeviceGet(self, ordinal: int) -> int:
        self.enter("cuDeviceGet", context=False)
        return ordinal

    def cuDevicePrimaryCtxRetain(self, device: int) -> str:
        self.enter("cuDevicePrimaryCtxRetain", context=False)
        self.retained += 1
        return PRIMARY

    def cuDevicePrimaryCtxRelease(self, device: int) -> None:
        self.enter("cuDevicePrimaryCtxRelease", context=False)
        assert self.retained > 0
        self.retained -= 1

    def cuCtxPushCurrent(self, context: str) -> None:
        self.enter("cuCtxPushCurrent", context=False)
        assert context == PRIMARY
        self.stack.append(context)

    def cuCtxPopCurrent(self) -> str:
        self.enter("cuCtxPopCurrent")
        return self.stack.pop()

    def cuMemGetInfo(self) -> tuple[int, int]:
        self.enter("cuMemGetInfo")
        return FREE, 2 * FREE

    def cuMemAlloc(self, size: int) -> int:
        self.enter("cuMemAlloc")
        if size > FREE:
            raise Refused("cuMemAlloc", Result.CUDA_ERROR_OUT_OF_MEMORY)
        return self.make(np.full(size, 0xAB, np.uint8))

    def cuMemFree(self, pointer: int) -> None:
        self.enter("cuMemFree", pointer)
        del self.live[pointer]

    def cuMemHostAlloc(self, size: int, flags: int) -> int:
        self.enter("cuMemHostAlloc")
        assert flags in (1, 3)  # portable, and mapped or not
        array = np.full(size, 0xAB, np.uint8)
        self.live[array.ctypes.data] = array
        self.live[-array.ctypes.data] = flags == 3
        return array.ctypes.data

    def cuMemFreeHost(self, pointer: int) -> None:
        self.enter("cuMemFreeHost", pointer)
        del self.live[pointer], self.live[-pointer]

    def cuMemHostGetDevicePointer(self, pointer: int, flags: int) -> int:
        self.enter("cuMemHostGetDevicePointer", pointer)
        if flags or not self.live[-pointer]:
            raise Refused("cuMemHostGetDevicePointer", Result.CUDA_ERROR_INVALID_VALUE)
        return pointer

    def cuMemcpyHtoDAsync(self, to: int, host: int, size: int, stream: int) -> None:
        self.enter("cuMemcpyHtoDAsync", to, host, stream)
        self.array(to, size)[:] = self.array(host, size)

    def cuMemcpyDtoHAsync(self, host: int, source: int, size: int, stream: int) -> None:
        self.enter("cuMemcpyDtoHAsync", host, source, stream)
        self.array(host, size)[:] = self.array(source, size)

    def cuStreamCreate(self, flags: int) -> int:
        self.enter("cuStreamCreate")
        assert flags == 1  # does not wait for the default stream
        return self.make("stream")

    def cuStreamDestroy(self, stream: int) -> None:
        self.enter("cuStreamDestroy", stream)
        del self.live[stream]

    def cuStreamSynchronize(self, stream: int) -> None:
        self.enter("cuStreamSynchronize", stream)
        assert stream not in self.capturing

    def cuEventCreate(self, flags: int) -> int:
        self.enter("cuEventCreate")
        assert not flags & 2  # which would switch its clock off
        return self.make([])

    def cuEventDestroy(self, event: int) -> None:
        self.enter("cuEventDestroy", event)
        del self.live[event]

    def cuEventRecord(self, event: int, stream: int) -> None:
        self.enter("cuEventRecord", event, stream)
        self.live[event].append(float(next(self._handles)))

    def cuEventElapsedTime(self, start: int, end: int) -> float:
        self.enter("cuEventElapsedTime", start, end)
        return float(self.live[end][-1] - self.live[start][-1])

    def cuStreamBeginCapture(self, stream: int, mode: object) -> None:
        self.enter("cuStreamBeginCapture", stream)
        assert str(mode).endswith("THREAD_LOCAL")
        self.capturing.add(stream)

    def cuStreamEndCapture(self, stream: int) -> int:
        self.capturing.remove(stream)
        self.enter("cuStreamEndCapture", stream)
        return self.make("graph")

    def cuGraphInstantiate(self, graph: int, flags: int) -> int:
        self.enter("cuGraphInstantiate", graph)
        assert flags == 0
        return self.make("graph exec")

    def cuGraphDestroy(self, graph: int) -> None:
        self.enter("cuGraphDestroy", graph)
        del self.live[graph]

    def cuGraphLaunch(self, graph: int, stream: int) -> None:
        self.enter("cuGraphLaunch", graph, stream)
        assert self.live[graph] == "graph exec"

    def cuGraphExecDestroy(self, graph: int) -> None:
        self.enter("cuGraphExecDestroy", graph)
        del self.live[graph]


def bindings_module(driver: Driver, name: str = "cuda.bindings.driver") -> types.ModuleType:
    """cuda-bindings' module of the driver API."""
    table = TABLE["cuda-bindings"]
    module = types.ModuleType(name)

    def function(call: str, parameters: list[str]) -> Callable[..., tuple[Any, ...]]:
        def run(*arguments: Any) -> tuple[Any, ...]:
            assert len(arguments) == len(parameters), f"{call} takes {parameters}"
            try:
                value = getattr(driver, call)(*arguments)
            except Refused as error:
                return (error.result, *(None for _ in range(call in _VALUES)))
            if value is None:
                return (Result.CUDA_SUCCESS,)
            return (Result.CUDA_SUCCESS, *(value if isinstance(value, tuple) else (value,)))

        return run

    for call, parameters in table["parameters"].items():
        setattr(module, call, function(call, parameters))
    mode = type("CUstreamCaptureMode", (), {name: name for name in table["CUstreamCaptureMode"]})
    module.CUstreamCaptureMode = mode  # type: ignore[attr-defined]
    return module


# Calls that give a value; after an error the real ones give None in its place.
_VALUES = ("cuMemAlloc", "cuMemHostAlloc", "cuStreamCreate", "cuEventCreate", "cuStreamEndCapture")


def pycuda_modules(driver: Driver) -> dict[str, types.ModuleType]:
    """``pycuda`` and ``pycuda.driver``."""
    table = TABLE["pycuda"]
    module = types.ModuleType("pycuda.driver")
    local = threading.local()
    errors: dict[str, type[Exception]] = {"Error": type("Error", (Exception,), {})}
    for name in table["exceptions"][1:]:
        errors[name] = type(name, (errors["Error"],), {})
    module.__dict__.update(errors)

    def stack() -> list[Any]:
        """pycuda's own, per thread."""
        if not hasattr(local, "stack"):
            local.stack = []
        return local.stack  # type: ignore[no-any-return]

    def do(call: str, *arguments: Any) -> Any:
        try:
            return getattr(driver, call)(*arguments)
        except Refused as error:
            short = error.result is Result.CUDA_ERROR_OUT_OF_MEMORY
            words = error.result.name.removeprefix("CUDA_ERROR_").lower().replace("_", " ")
            kind = errors["MemoryError" if short else "LogicError"]
            raise kind(f"{error.call} failed: {words}") from None

    def destroyed(what: str, call: str, handle: int | None) -> None:
        if handle is None:  # its constructor failed
            return
        if not stack():
            warnings.warn(f"{what} in out-of-thread context could not be cleaned up", stacklevel=2)
            return
        do(call, handle)

    class Device:
        def __init__(self, ordinal: int) -> None:
            self._handle = do("cuDeviceGet", ordinal)

        def retain_primary_context(self) -> Context:
            return Context(do("cuDevicePrimaryCtxRetain", self._handle))

    class Context:
        def __init__(self, handle: str) -> None:
            self._handle = handle

        def push(self) -> None:
            if stack():
                do("cuCtxPopCurrent")  # one of its contexts at a time
            do("cuCtxPushCurrent", self._handle)
            stack().append(self)

        @staticmethod
        def pop() -> None:
            if not stack():
                raise errors["LogicError"]("context::pop failed: invalid device context")
            do("cuCtxPopCurrent")
            stack().pop()
            if stack():
                do("cuCtxPushCurrent", stack()[-1]._handle)

    class Stream:
        handle: int | None = None

        def __init__(self, flags: int = 0) -> None:
            assert stack()
            self.handle = do("cuStreamCreate", flags)

        def synchronize(self) -> None:
            do("cuStreamSynchronize", self.handle)

        def __del__(self) -> None:
            destroyed("stream", "cuStreamDestroy", self.handle)

    class Event:
        _handle: int | None = None

        def __init__(self, flags: int = 0) -> None:
            self._handle = do("cuEventCreate", flags)

        def record(self, stream: Stream | None = None) -> Event:
            assert stream is not None
            do("cuEventRecord", self._handle, stream.handle)
            return self

        def time_since(self, event: Event) -> float:
            return do("cuEventElapsedTime", event._handle, self._handle)

        def __del__(self) -> None:
            destroyed("event", "cuEventDestroy", self._handle)

    class _Allocation:
        _call = ""

        def __init__(self, pointer: int) -> None:
            self._pointer, self._valid = pointer, True

        def __int__(self) -> int:
            return self._pointer

        def free(self) -> None:
            if not self._valid:
                raise errors["LogicError"]("allocation::free failed: invalid resource handle")
            destroyed("allocation", self._call, self._pointer)
            self._valid = False

        def __del__(self) -> None:
            if self._valid:
                self.free()

    class DeviceAllocation(_Allocation):
        _call = "cuMemFree"

    class PagelockedHostAllocation(_Allocation):
        _call = "cuMemFreeHost"

        def get_device_pointer(self) -> int:
            return do("cuMemHostGetDevicePointer", self._pointer, 0)

    def pagelocked_empty(shape: int, dtype: Any, order: str = "C", mem_flags: int = 0) -> Any:
        assert np.dtype(dtype) == np.uint8
        pointer = do("cuMemHostAlloc", shape, mem_flags)
        allocation = PagelockedHostAllocation(pointer)
        # An array's base is what it was made of; as with the real one, that is the allocation.
        allocation.__dict__["__array_interface__"] = {
            "data": (pointer, False),
            "shape": (shape,),
            "typestr": "|u1",
            "version": 3,
        }
        made = np.asarray(allocation)
        assert made.base is allocation
        return made

    def mem_alloc(size: int) -> DeviceAllocation:
        try:
            return DeviceAllocation(do("cuMemAlloc", size))
        except errors["MemoryError"]:
            gc.collect()  # in which pycuda hopes to find something to free
            return DeviceAllocation(do("cuMemAlloc", size))

    def memcpy_htod_async(dest: int, src: np.ndarray, stream: Stream | None = None) -> None:
        assert stream is not None  # the default stream waits for all others
        assert src.flags.c_contiguous
        do("cuMemcpyHtoDAsync", dest, src.ctypes.data, src.nbytes, stream.handle)

    def memcpy_dtoh_async(dest: np.ndarray, src: int, stream: Stream | None = None) -> None:
        assert stream is not None
        assert dest.flags.c_contiguous
        assert dest.flags.writeable
        do("cuMemcpyDtoHAsync", dest.ctypes.data, src, dest.nbytes, stream.handle)

    made: dict[str, Any] = {
        "init": lambda flags=0: do("cuInit", flags),
        "mem_get_info": lambda: do("cuMemGetInfo"),
        "mem_alloc": mem_alloc,
        "pagelocked_empty": pagelocked_empty,
        "memcpy_htod_async": memcpy_htod_async,
        "memcpy_dtoh_async": memcpy_dtoh_async,
        "Device": Device,
        "Context": Context,
        "Stream": Stream,
        "Event": Event,
        "DeviceAllocation": DeviceAllocation,
        "PagelockedHostAllocation": PagelockedHostAllocation,
    }
    wanted = {*table["parameters"], *table["members"]}
    assert set(made) == wanted, set(made) ^ wanted
    module.__dict__.update(made)
    package = types.ModuleType("pycuda")
    package.VERSION_TEXT = table["seen_in"][-1]  # type: ignore[attr-defined]
    package.driver = module  # type: ignore[attr-defined]
    return {"pycuda": package, "pycuda.driver": module}
