"""CUDA without a GPU, for runners: real memory, real order, and a judge of both.

Memory is numpy's, so that a fake TensorRT computes real numbers on it. A stream does nothing before
it is synchronised: whoever reads too early reads zeros. Every call needs the context, every object
is alive when it is used and is destroyed once, copies stay inside what was allocated, freed memory
is filled with rubbish, and a graph is not launched after its context has changed.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from edgepose.runtime.cuda.base import (
    OUT_OF_MEMORY,
    Cuda,
    CudaError,
    DeviceMemory,
    Event,
    Graph,
    HostMemory,
    Stream,
    out_of_memory,
)
from edgepose.trt.gpu import Gpu
from tests.trt.engines import GPU
from tests.trt.fake import Work

RUBBISH = 0xAB


@dataclass
class _Queue:
    """What a stream has to do, and what is being captured from it."""

    todo: list[Callable[[], None]] = field(default_factory=list)
    capture: list[Callable[[], None]] | None = None
    thread: int = 0


class FakeCuda(Cuda):
    """See the top of this file.

    Args:
        gpu: The GPU it claims to be.
        can_capture: Whether it has graphs.
        room: Bytes of device memory.
        refuse_capture: Error of :meth:`end_capture`; None to capture.

    Attributes:
        calls: What was called, in order.
        fail: Number of the call, from 0, that fails; None for none.
        live: What is created and not destroyed yet.
        closed: How often :meth:`close` was called.
    """

    provider = "fake"
    version = "1"
    _queues: ClassVar[dict[int, tuple[FakeCuda, _Queue]]] = {}
    _handles = itertools.count(0x1000, 0x10)

    def __init__(
        self,
        *,
        gpu: Gpu = GPU,
        can_capture: bool = True,
        room: int = 1 << 30,
        refuse_capture: str | None = None,
        index: int = 0,
    ) -> None:
        self.gpu, self.can_capture, self.index = gpu, can_capture, index
        self.room, self.refuse_capture = room, refuse_capture
        self.calls: list[str] = []
        self.fail: int | None = None
        self.live: list[Any] = []
        self.closed = 0
        self._state = threading.local()
        self._graveyard: list[np.ndarray] = []

    # --- the judge ---

    def _enter(self, name: str, *alive: Any) -> None:
        assert self.depth == 1, f"{name} without the context"
        for thing in alive:
            assert any(thing is one for one in self.live), f"{name} of something that is gone"
        self.calls.append(name)
        if self.fail == len(self.calls) - 1:
            raise CudaError(name, "CUDA_ERROR_INJECTED")

    @property
    def depth(self) -> int:
        """How often the context is on this thread's stack."""
        return getattr(self._state, "depth", 0)

    def assert_clean(self) -> None:
        """Everything was given back, once."""
        assert self.live == []
        assert self.closed == 1
        assert self.depth == 0

    def _gone(self, thing: Any) -> None:
        self.live = [one for one in self.live if one is not thing]

    def _made(self, thing: Any) -> Any:
        self.live.append(thing)
        return thing

    # --- streams ---

    def _queue(self, stream: Stream) -> _Queue:
        return self._queues[stream.handle][1]

    def _put(self, stream: Stream, work: Callable[[], None]) -> None:
        queue = self._queue(stream)
        (queue.todo if queue.capture is None else queue.capture).append(work)

    @classmethod
    def enqueue(cls, handle: int, work: Work) -> None:
        """The ``enqueue`` of a fake TensorRT: its work goes into the stream of that handle."""
        cuda, queue = cls._queues[handle]
        assert cuda.depth == 1, "TensorRT without the context"
        cuda.calls.append("enqueue")
        (queue.todo if queue.capture is None else queue.capture).append(work)

    # --- the interface ---

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        self._state.depth = self.depth + 1
        try:
            yield
        finally:
            self._state.depth -= 1

    def memory(self) -> tuple[int, int]:
        self._enter("memory")
        used = sum(m.size for m in self.live if isinstance(m, DeviceMemory))
        return self.room - used, self.room

    def create_stream(self) -> Stream:
        self._enter("create_stream")
        stream = Stream(next(self._handles), None)
        self._queues[stream.handle] = (self, _Queue())
        return self._made(stream)

    def destroy_stream(self, stream: Stream) -> None:
        self._enter("destroy_stream", stream)
        assert self._queue(stream).todo == []
        del self._queues[stream.handle]
        self._gone(stream)

    def synchronise(self, stream: Stream) -> None:
        self._enter("synchronise", stream)
        queue = self._queue(stream)
        assert queue.capture is None, "a stream in capture cannot be waited for"
        todo, queue.todo = queue.todo, []
        for work in todo:
            work()

    def alloc(self, size: int) -> DeviceMemory:
        self._enter("alloc")
        assert size > 0
        if size > self.room:
            raise out_of_memory("cuMemAlloc", OUT_OF_MEMORY, size, self.room, host=False)
        array = np.full(size, RUBBISH, np.uint8)
        return self._made(DeviceMemory(array.ctypes.data, size, array))

    def free(self, memory: DeviceMemory) -> None:
        self._enter("free", memory)
        self._bury(memory.native)
        self._gone(memory)

    def alloc_host(self, size: int, *, mapped: bool = False) -> HostMemory:
        self._enter("alloc_host mapped" if mapped else "alloc_host")
        array = np.zeros(size, np.uint8)
        return self._made(HostMemory(array, array.ctypes.data if mapped else None, array))

    def free_host(self, memory: HostMemory) -> None:
        self._enter("free_host", memory)
        self._bury(memory.native)
        self._gone(memory)

    def _bury(self, array: np.ndarray) -> None:
        array[:] = RUBBISH
        self._graveyard.append(array)  # so that a late reader finds rubbish and not a crash

    def upload(self, host: HostMemory, device: DeviceMemory, size: int, stream: Stream) -> None:
        self._enter(f"upload {size}", host, device, stream)
        self._copy(host.array, device.native, size, stream)

    def download(self, device: DeviceMemory, host: HostMemory, size: int, stream: Stream) -> None:
        self._enter(f"download {size}", host, device, stream)
        self._copy(device.native, host.array, size, stream)

    def _copy(self, source: np.ndarray, target: np.ndarray, size: int, stream: Stream) -> None:
        assert 0 < size <= min(len(source), len(target))

        def copy() -> None:
            target[:size] = source[:size]

        self._put(stream, copy)

    def create_event(self) -> Event:
        self._enter("create_event")
        return self._made(Event([]))

    def destroy_event(self, event: Event) -> None:
        self._enter("destroy_event", event)
        self._gone(event)

    def record(self, event: Event, stream: Stream) -> None:
        self._enter("record", event, stream)
        self._put(stream, lambda: event.native.append(next(self._handles)))

    def elapsed_ms(self, start: Event, end: Event) -> float:
        self._enter("elapsed_ms", start, end)
        return float(end.native[-1] - start.native[-1])

    def begin_capture(self, stream: Stream) -> None:
        self._enter("begin_capture", stream)
        queue = self._queue(stream)
        assert self.can_capture
        assert queue.capture is None
        runs = [work for work in queue.todo if isinstance(work, Work)]
        assert runs == [], "the run before the capture is not over"
        queue.capture, queue.thread = [], threading.get_ident()

    def end_capture(self, stream: Stream) -> Graph:
        queue = self._queue(stream)
        assert queue.capture is not None
        assert queue.thread == threading.get_ident()
        captured, queue.capture = queue.capture, None  # ended in any case, as CUDA does it
        self._enter("end_capture", stream)
        if self.refuse_capture:
            raise CudaError("cuStreamEndCapture", self.refuse_capture)
        return self._made(Graph(captured))

    def launch(self, graph: Graph, stream: Stream) -> None:
        self._enter("launch", graph, stream)
        for work in graph.native:
            if isinstance(work, Work):
                assert work.valid(), "the context has changed since this graph was captured"
            self._put(stream, work)

    def destroy_graph(self, graph: Graph) -> None:
        self._enter("destroy_graph", graph)
        self._gone(graph)

    def close(self) -> None:
        assert self.depth == 0
        self.closed += 1
