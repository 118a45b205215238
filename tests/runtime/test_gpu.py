"""The device path on a real GPU: run with ``pytest -m gpu`` where there is one."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgepose.engine import BuildOptions, Profile, build_engine
from edgepose.runtime.cuda import open_cuda
from edgepose.runtime.onnxruntime import OnnxRunner
from edgepose.runtime.tensorrt import TensorRTRunner
from edgepose.trt import api
from edgepose.trt.gpu import find_gpu
from tests.fakes import heatmap_spec, write_tiny_onnx
from tests.runtime.cuda.scenario import exercise

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(find_gpu() is None, reason="needs an NVIDIA GPU and its driver"),
]

_PACKAGES = {"cuda-bindings": "cuda", "pycuda": "pycuda"}


@pytest.fixture(params=list(_PACKAGES))
def provider(request: pytest.FixtureRequest) -> str:
    if importlib.util.find_spec(_PACKAGES[request.param]) is None:
        pytest.skip(f"needs {request.param}")
    return str(request.param)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_onnx(tmp_path_factory.mktemp("gpu") / "pose.onnx", heatmap_spec())


@pytest.fixture(scope="module")
def engine(model: Path) -> Path:
    for product in ("tensorrt", "tensorrt-rtx"):
        if api.installed(product):
            path = model.with_suffix(".engine")
            build_engine(model, path, BuildOptions(profiles=(Profile(1, 4, 16),)), product=product)
            return path
    pytest.skip("needs TensorRT or TensorRT-RTX")


def pictures(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3, 64, 48)).astype(np.float32)


def cells(images: np.ndarray) -> np.ndarray:
    """What the tiny model computes for each keypoint."""
    return images.mean(1).reshape(-1, 16, 4, 12, 4).mean((2, 4))


def in_threads(*calls: Callable[[], None]) -> None:
    """Run each in a thread of its own, where no context is current; raise the first failure."""
    failures: list[BaseException] = []

    def guarded(call: Callable[[], None]) -> None:
        try:
            call()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_the_provider(provider: str) -> None:
    cuda = open_cuda(0, provider)
    in_threads(lambda: exercise(cuda, lambda: 0))
    cuda.close()


@pytest.mark.trt
@pytest.mark.parametrize("graphs", [False, True])
def test_the_engine_computes_what_the_graph_computes(
    engine: Path, model: Path, provider: str, graphs: bool
) -> None:
    with (
        TensorRTRunner(engine, provider=provider, graphs=graphs) as runner,
        OnnxRunner(model, threads=1) as reference,
    ):
        for turn, count in enumerate((1, 3, 3, 16, 16, 1, 40, 3)):
            images = pictures(count, seed=turn)
            found, milliseconds = runner.infer_timed(images)
            wanted = reference.infer(images)["heatmaps"]
            np.testing.assert_allclose(found["heatmaps"], wanted, atol=2e-3)
            assert 0 < milliseconds < 1000


@pytest.mark.trt
def test_nothing_leaks(engine: Path, provider: str) -> None:
    cuda = open_cuda(0, provider)
    images = pictures(3)
    with TensorRTRunner(engine, provider=provider) as runner:
        for _ in range(20):
            runner.infer(images)
        with cuda.active():
            before = cuda.memory()[0]
        for _ in range(10_000):
            runner.infer(images)
        with cuda.active():
            lost = before - cuda.memory()[0]
    cuda.close()
    assert lost < 8 << 20, f"{lost / 2**20:.1f} MiB are gone after 10,000 calls"


@pytest.mark.trt
def test_runners_come_and_go(engine: Path, provider: str) -> None:
    cuda = open_cuda(0, provider)
    free = []
    for _ in range(12):
        with TensorRTRunner(engine, provider=provider) as runner:
            for _ in range(3):
                runner.infer(pictures(2))
        with cuda.active():
            free.append(cuda.memory()[0])
    cuda.close()
    # What CUDA and TensorRT load once is loaded by then.
    assert free[3] - free[-1] < 8 << 20


@pytest.mark.trt
def test_two_runners_in_two_threads(engine: Path, provider: str) -> None:
    def work(seed: int) -> None:
        with TensorRTRunner(engine, provider=provider) as runner:
            for turn in range(300):
                images = pictures(1 + (seed + turn) % 5, seed=1000 * seed + turn)
                found = runner.infer(images)["heatmaps"][:, 5]
                np.testing.assert_allclose(found, cells(images), atol=2e-3)

    in_threads(lambda: work(0), lambda: work(1))


@pytest.mark.trt
def test_beside_torch(engine: Path, provider: str) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs torch with CUDA")
    weights = torch.randn(512, 512, device="cuda")
    wanted = weights @ weights
    with TensorRTRunner(engine, provider=provider) as runner:
        for turn in range(20):
            images = pictures(1 + turn % 4, seed=turn)
            product = weights @ weights  # under way while the engine runs
            found = runner.infer(images)["heatmaps"][:, 0]
            np.testing.assert_allclose(found, cells(images), atol=2e-3)
            torch.testing.assert_close(product, wanted)
    torch.testing.assert_close(weights @ weights, wanted)
