"""Memory, streams, events and graphs through each binding, on the real thing."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from edgepose.runtime.cuda import Cuda, CudaError, open_cuda
from edgepose.runtime.cuda.base import OUT_OF_MEMORY
from edgepose.trt.gpu import read_gpu

pytestmark = pytest.mark.gpu

MIB = 2**20


def pattern(size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, size, np.uint8)


@pytest.mark.parametrize("size", [1, 255, 4097, 32 * MIB])
def test_bytes_go_to_the_device_and_come_back(cuda: Cuda, size: int) -> None:
    stream = cuda.create_stream()
    source, target = cuda.alloc_host(size), cuda.alloc_host(size)
    device = cuda.alloc(size)
    source.array[:] = pattern(size)
    assert not target.array.any()
    cuda.upload(source, device, size, stream)
    cuda.download(device, target, size, stream)
    cuda.synchronise(stream)
    np.testing.assert_array_equal(target.array, pattern(size))
    assert device.pointer % 256 == 0
    cuda.free(device)
    for host in (source, target):
        cuda.free_host(host)
    cuda.destroy_stream(stream)


def test_only_as_much_is_copied_as_was_asked(cuda: Cuda) -> None:
    stream = cuda.create_stream()
    source, target, device = cuda.alloc_host(4096), cuda.alloc_host(4096), cuda.alloc(4096)
    source.array[:] = pattern(4096)
    cuda.upload(source, device, 4096, stream)
    cuda.download(device, target, 1000, stream)
    cuda.synchronise(stream)
    np.testing.assert_array_equal(target.array[:1000], pattern(4096)[:1000])
    assert not target.array[1000:].any()
    cuda.free(device)
    cuda.free_host(source)
    cuda.free_host(target)
    cuda.destroy_stream(stream)


def test_mapped_memory_is_the_same_on_both_sides(cuda: Cuda) -> None:
    stream = cuda.create_stream()
    shared, device = cuda.alloc_host(4096, mapped=True), cuda.alloc(4096)
    assert shared.device_pointer is not None
    shared.array[:] = pattern(4096)
    cuda.upload(shared, device, 4096, stream)
    cuda.synchronise(stream)
    shared.array[:] = 0
    cuda.download(device, shared, 4096, stream)
    cuda.synchronise(stream)
    np.testing.assert_array_equal(shared.array, pattern(4096))
    cuda.free(device)
    cuda.free_host(shared)
    cuda.destroy_stream(stream)


def test_memory_is_counted_and_given_back(cuda: Cuda) -> None:
    free, total = cuda.memory()
    assert 0 < free <= total
    assert total == pytest.approx(read_gpu().memory_bytes, rel=0.1)
    blocks = [cuda.alloc(64 * MIB) for _ in range(4)]
    assert free - cuda.memory()[0] >= 200 * MIB
    for block in blocks:
        cuda.free(block)
    assert free - cuda.memory()[0] < 64 * MIB


def test_too_much_memory_is_an_error_that_names_it_and_harms_nothing(cuda: Cuda) -> None:
    with pytest.raises(CudaError, match="asked for") as caught:
        cuda.alloc(2**46)
    assert caught.value.name == OUT_OF_MEMORY
    assert "are free" in str(caught.value)
    cuda.free(cuda.alloc(MIB))


def test_events_time_the_device(cuda: Cuda) -> None:
    stream, size = cuda.create_stream(), 64 * MIB
    host, device = cuda.alloc_host(size), cuda.alloc(size)
    first, second = cuda.create_event(), cuda.create_event()
    began = time.perf_counter()
    cuda.record(first, stream)
    cuda.upload(host, device, size, stream)
    cuda.record(second, stream)
    cuda.synchronise(stream)
    wall = 1000 * (time.perf_counter() - began)
    spent = cuda.elapsed_ms(first, second)
    # 64 MiB take 1 ms at 64 GB/s, which no bus of today exceeds by much.
    assert 0.1 < spent <= wall + 1
    for event in (first, second):
        cuda.destroy_event(event)
    cuda.free(device)
    cuda.free_host(host)
    cuda.destroy_stream(stream)


def test_a_captured_graph_does_its_work_each_time_it_is_launched(cuda: Cuda) -> None:
    stream, size = cuda.create_stream(), 4096
    if not cuda.can_capture:
        with pytest.raises(CudaError, match="graphs"):
            cuda.begin_capture(stream)
        cuda.destroy_stream(stream)
        return
    source, target, device = cuda.alloc_host(size), cuda.alloc_host(size), cuda.alloc(size)
    cuda.begin_capture(stream)
    cuda.upload(source, device, size, stream)
    cuda.download(device, target, size, stream)
    graph = cuda.end_capture(stream)
    cuda.synchronise(stream)
    assert not target.array.any()  # noted down, not done
    for seed in range(3):
        source.array[:] = pattern(size, seed)
        cuda.launch(graph, stream)
        cuda.synchronise(stream)
        np.testing.assert_array_equal(target.array, pattern(size, seed))
    cuda.destroy_graph(graph)
    cuda.free(device)
    cuda.free_host(source)
    cuda.free_host(target)
    cuda.destroy_stream(stream)


def test_each_thread_activates_the_context_for_itself(provider: str) -> None:
    cuda = open_cuda(0, provider)
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            for _ in range(50):
                with cuda.active():
                    stream, host = cuda.create_stream(), cuda.alloc_host(4096)
                    device = cuda.alloc(4096)
                    host.array[:] = pattern(4096, seed)
                    cuda.upload(host, device, 4096, stream)
                    cuda.synchronise(stream)
                    host.array[:] = 0
                    cuda.download(device, host, 4096, stream)
                    cuda.synchronise(stream)
                    np.testing.assert_array_equal(host.array, pattern(4096, seed))
                    cuda.free(device)
                    cuda.free_host(host)
                    cuda.destroy_stream(stream)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cuda.close()
    assert failures == []
