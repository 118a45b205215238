from __future__ import annotations

import gc
import inspect
import sys
import threading
import types
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from edgepose.errors import DeviceError, MissingDependency
from edgepose.runtime import cuda as package
from edgepose.runtime.cuda import base, cuda_bindings, open_cuda, pycuda
from edgepose.runtime.cuda.base import Cuda, CudaError
from edgepose.runtime.cuda.tensors import Tensor
from tests.runtime.cuda.fake_bindings import Driver, Result, bindings_module, pycuda_modules
from tests.runtime.cuda.names import TABLE
from tests.runtime.cuda.scenario import exercise
from tests.runtime.fake_cuda import FakeCuda
from tests.trt.engines import GPU


@dataclass
class Setting:
    """A machine with one binding installed."""

    driver: Driver
    open: Callable[[], Cuda]


@pytest.fixture(params=["cuda-bindings", "cuda-python", "pycuda"])
def setting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Setting:
    driver = Driver()
    install(monkeypatch, request.param, driver)
    name = "pycuda" if request.param == "pycuda" else "cuda-bindings"
    return Setting(driver, lambda: open_cuda(0, name))


def install(monkeypatch: pytest.MonkeyPatch, binding: str | None, driver: Driver) -> None:
    """Make one binding, or none, the only one there is."""
    for module in (package, cuda_bindings, pycuda):
        monkeypatch.setattr(module, "read_gpu", lambda index: replace(GPU, name=f"GPU {index}"))
    monkeypatch.setattr(pycuda, "_contexts", {})
    modules: dict[str, types.ModuleType | None] = dict.fromkeys(
        ["cuda", "cuda.bindings", "cuda.bindings.driver", "cuda.cuda", "pycuda", "pycuda.driver"]
    )
    if binding == "pycuda":
        modules |= pycuda_modules(driver)
    elif binding is not None:
        path = "cuda.bindings.driver" if binding == "cuda-bindings" else "cuda.cuda"
        parts = path.split(".")
        for end in range(1, len(parts)):
            name = ".".join(parts[:end])
            modules[name] = types.ModuleType(name)
        modules[path] = bindings_module(driver, path)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)


def test_a_provider_does_what_it_should(setting: Setting) -> None:
    cuda = setting.open()
    assert cuda.gpu.name == "GPU 0"
    exercise(cuda, lambda: len(setting.driver.live))
    assert setting.driver.live == {}
    assert setting.driver.stack == []
    cuda.close()
    cuda.close()


def test_a_thread_of_its_own(setting: Setting) -> None:
    """What was made on one thread is freed on another, and no context stays behind."""
    cuda = setting.open()
    with cuda.active():
        memory, host, stream = cuda.alloc(8), cuda.alloc_host(8), cuda.create_stream()
        event = cuda.create_event()
    failures: list[BaseException] = []

    def other() -> None:
        try:
            with cuda.active():
                cuda.free(memory)
                cuda.free_host(host)
                cuda.destroy_event(event)
                cuda.destroy_stream(stream)
            assert setting.driver.stack == []
            exercise(cuda, lambda: len(setting.driver.live))
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert failures == []
    assert setting.driver.live == {}


def test_an_exception_leaves_no_context_behind(setting: Setting) -> None:
    cuda = setting.open()
    with pytest.raises(KeyboardInterrupt), cuda.active():
        raise KeyboardInterrupt
    assert setting.driver.stack == []


def test_the_context_of_others_is_there_again(setting: Setting) -> None:
    """Torch leaves its context on the thread, and expects to find it."""
    setting.driver.stack.append("torch's")
    cuda = setting.open()
    with cuda.active():
        assert setting.driver.stack == ["torch's", "the primary context"]
    assert setting.driver.stack == ["torch's"]


def test_contexts_are_retained_and_released(setting: Setting) -> None:
    first, second = setting.open(), setting.open()
    if first.provider == "pycuda":
        assert setting.driver.retained == 1
        first.close()
        second.close()
        assert setting.driver.retained == 1  # for the life of the process
    else:
        assert setting.driver.retained == 2
        first.close()
        first.close()
        assert setting.driver.retained == 1
        second.close()
        assert setting.driver.retained == 0


CALLS = {
    "cuCtxPushCurrent": lambda cuda, t: None,
    "cuMemGetInfo": lambda cuda, t: cuda.memory(),
    "cuStreamCreate": lambda cuda, t: cuda.create_stream(),
    "cuMemAlloc": lambda cuda, t: cuda.alloc(4),
    "cuMemHostAlloc": lambda cuda, t: cuda.alloc_host(4),
    "cuMemHostGetDevicePointer": lambda cuda, t: cuda.alloc_host(4, mapped=True),
    "cuEventCreate": lambda cuda, t: cuda.create_event(),
    "cuStreamSynchronize": lambda cuda, t: cuda.synchronise(t["stream"]),
    "cuMemcpyHtoDAsync": lambda cuda, t: cuda.upload(t["host"], t["device"], 4, t["stream"]),
    "cuMemcpyDtoHAsync": lambda cuda, t: cuda.download(t["device"], t["host"], 4, t["stream"]),
    "cuEventRecord": lambda cuda, t: cuda.record(t["event"], t["stream"]),
    "cuEventElapsedTime": lambda cuda, t: cuda.elapsed_ms(t["event"], t["event"]),
    "cuMemFree": lambda cuda, t: cuda.free(t["device"]),
    "cuMemFreeHost": lambda cuda, t: cuda.free_host(t["host"]),
}


@pytest.mark.parametrize("call", CALLS)
def test_every_error_names_its_call(setting: Setting, call: str) -> None:
    cuda, driver = setting.open(), setting.driver
    with cuda.active():
        things = {
            "stream": cuda.create_stream(),
            "host": cuda.alloc_host(4),
            "device": cuda.alloc(4),
            "event": cuda.create_event(),
        }
        live = len(driver.live)
    driver.fail[call] = Result.CUDA_ERROR_INVALID_VALUE
    with pytest.raises(CudaError, match=rf"CUDA's {call} failed: ") as caught, cuda.active():
        CALLS[call](cuda, things)
    assert caught.value.call == call
    assert "invalid" in caught.value.name.lower()
    assert caught.value.exit_code == 4
    assert len(driver.live) == live  # a page-locked buffer that cannot be mapped goes again
    driver.fail.clear()
    del caught  # unlike C++, the fake's methods hold their object in the traceback
    gc.collect()
    with cuda.active():
        cuda.destroy_event(things["event"])
        cuda.free(things["device"])
        cuda.free_host(things["host"])
        cuda.destroy_stream(things["stream"])


def test_a_capture_that_fails_leaves_no_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver()
    install(monkeypatch, "cuda-bindings", driver)
    cuda = open_cuda()
    with cuda.active():
        stream = cuda.create_stream()
        for call in ("cuStreamEndCapture", "cuGraphInstantiate"):
            driver.fail = {call: Result.CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED}
            cuda.begin_capture(stream)
            with pytest.raises(CudaError, match="STREAM_CAPTURE_UNSUPPORTED"):
                cuda.end_capture(stream)
            assert list(driver.live.values()) == ["stream"]
        driver.fail.clear()
        cuda.destroy_stream(stream)


def test_a_driver_too_old_for_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real binding raises where the driver lacks a function."""
    driver = Driver()
    install(monkeypatch, "cuda-bindings", driver)
    cuda = open_cuda()

    def missing(*_: object) -> None:
        raise RuntimeError('Function "cuMemGetInfo" not found')

    monkeypatch.setattr(sys.modules["cuda.bindings.driver"], "cuMemGetInfo", missing)
    with pytest.raises(CudaError, match="not found"), cuda.active():
        cuda.memory()


def test_the_fakes_have_just_the_names_of_the_table() -> None:
    module = pycuda_modules(Driver())["pycuda.driver"]
    table = TABLE["pycuda"]
    for name, members in table["members"].items():
        kind = getattr(module, name)
        own = {m for c in kind.__mro__[:-1] for m in vars(c) if not m.startswith("_")}
        assert own == set(members), name
    for name, parameters in table["parameters"].items():
        thing = getattr(module, name)
        found = inspect.signature(thing).parameters.values()
        plain = [p.name + "=" * (p.default is not p.empty) for p in found]
        assert len(plain) == len(parameters), name
        for have, listed in zip(plain, parameters, strict=True):
            assert have == listed or listed.startswith("arg"), name


def test_which_binding(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "pycuda", Driver())
    assert open_cuda().provider == "pycuda"
    with pytest.raises(MissingDependency, match=r"[\s\S]*pip install cuda-bindings$"):
        open_cuda(provider="cuda-bindings")
    install(monkeypatch, "cuda-bindings", Driver())
    assert open_cuda().provider == "cuda-bindings"
    for name, module in pycuda_modules(Driver()).items():
        monkeypatch.setitem(sys.modules, name, module)
    assert open_cuda().provider == "cuda-bindings"
    assert open_cuda(provider="pycuda").provider == "pycuda"
    with pytest.raises(DeviceError, match="unknown CUDA provider 'numba'"):
        open_cuda(provider="numba")
    install(monkeypatch, None, Driver())
    with pytest.raises(MissingDependency, match=r"cuda-bindings: .*pycuda: ") as caught:
        open_cuda()
    assert caught.value.hint == "pip install cuda-bindings, or pycuda"
    assert caught.value.exit_code == 4


def test_without_a_driver_that_is_said_first(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, None, Driver())

    def none(index: int) -> None:
        raise DeviceError("no usable GPU", "the NVIDIA driver is not installed")

    monkeypatch.setattr(package, "read_gpu", none)
    with pytest.raises(DeviceError, match="driver is not installed"):
        open_cuda()


# --- tensors ---


@pytest.mark.parametrize("mapped", [False, True])
def test_a_tensor_holds_rows(mapped: bool) -> None:
    cuda = FakeCuda()
    with cuda.active():
        stream = cuda.create_stream()
        tensor = Tensor(cuda, (4, 3), np.float16, mapped=mapped)
        assert tensor.array.shape == (4, 3)
        assert tensor.array.dtype == np.float16
        tensor.array[:] = np.arange(12).reshape(4, 3)
        tensor.upload(2, stream)
        cuda.synchronise(stream)
        if not mapped:
            tensor.array[:] = 0
        tensor.download(1, stream)
        cuda.synchronise(stream)
        np.testing.assert_array_equal(tensor.array[0], [0, 1, 2])
        tensor.free()
        assert tensor.array.size == 0
        cuda.destroy_stream(stream)
        tensor.free()
    assert cuda.live == []


def test_a_tensor_that_finds_no_room_on_the_device_leaves_none_on_the_host() -> None:
    cuda = FakeCuda(room=10)
    with cuda.active(), pytest.raises(base.CudaError, match="asked for"):
        Tensor(cuda, (4, 3), np.float32, mapped=False)
    assert cuda.live == []
