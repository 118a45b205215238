"""What every provider must be able to do, whatever is behind it: fakes, or the real bindings."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np
import pytest

from edgepose.runtime.cuda.base import OUT_OF_MEMORY, Cuda, CudaError


def exercise(cuda: Cuda, live: Callable[[], int]) -> None:
    """Use all of a provider on this thread, with nothing left behind.

    Args:
        cuda: The provider.
        live: Counts what exists on the device.
    """
    with cuda.active():
        before = live()
        free, total = cuda.memory()
        assert 0 < free <= total
        stream = cuda.create_stream()
        device = cuda.alloc(4096)
        source, target = cuda.alloc_host(4096), cuda.alloc_host(4096)
        assert not source.array.any()
        assert source.device_pointer is None
        source.array[:] = np.arange(4096) % 251
        cuda.upload(source, device, 2000, stream)
        cuda.download(device, target, 2000, stream)
        cuda.synchronise(stream)
        np.testing.assert_array_equal(target.array[:2000], source.array[:2000])
        assert not target.array[2000:].any()

        mapped = cuda.alloc_host(100, mapped=True)
        mapped.array[7] = 77
        assert mapped.device_pointer is not None
        assert ctypes.c_uint8.from_address(mapped.device_pointer + 7).value == 77

        start, end = cuda.create_event(), cuda.create_event()
        cuda.record(start, stream)
        cuda.record(end, stream)
        cuda.synchronise(stream)
        assert cuda.elapsed_ms(start, end) > 0

        if cuda.can_capture:
            cuda.begin_capture(stream)
            cuda.upload(source, device, 10, stream)
            graph = cuda.end_capture(stream)
            cuda.launch(graph, stream)
            cuda.synchronise(stream)
            cuda.destroy_graph(graph)
        else:
            with pytest.raises(CudaError, match="no CUDA graphs"):
                cuda.begin_capture(stream)

        with pytest.raises(CudaError, match="of GPU memory are free") as short:
            cuda.alloc(1 << 40)
        assert (short.value.call, short.value.name) == ("cuMemAlloc", OUT_OF_MEMORY)
        assert "1048576.0 MiB" in str(short.value)

        for event in (start, end):
            cuda.destroy_event(event)
        for memory in (source, target, mapped):
            cuda.free_host(memory)
        cuda.free(device)
        cuda.destroy_stream(stream)
        assert live() == before
    with pytest.raises(CudaError, match=r"cuMemAlloc failed: .*(?i:context)"):
        cuda.alloc(10)
