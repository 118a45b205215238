"""What the tests on a real GPU share. They run where one is, and only if asked for: ``-m gpu``."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from edgepose import zoo
from edgepose.crops import box_affines, to_input, warp_crops
from edgepose.engine import BuildOptions, build_engine
from edgepose.errors import DeviceError, MissingDependency
from edgepose.parity import FP16, FP32, INT8, ParityLimits, sample_photos
from edgepose.runtime.cuda import Cuda, Provider, open_cuda
from edgepose.runtime.tensorrt import TensorRTRunner
from edgepose.trt import sidecar
from edgepose.trt.api import Product, installed
from edgepose.trt.gpu import read_gpu

HERE = Path(__file__).parent
# Engine to test with, and the ONNX file it was built from; without, one is built.
ENGINE, ONNX = "EDGEPOSE_GPU_ENGINE", "EDGEPOSE_GPU_ONNX"
LIMITS = {"fp32": FP32, "fp16": FP16, "int8": INT8, "int8-fp16": INT8}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    ours = [item for item in items if HERE in item.path.parents]
    reason = _why_not(str(config.getoption("markexpr"))) if ours else ""
    for item in ours if reason else ():
        item.add_marker(pytest.mark.skip(reason=reason))


def _why_not(expression: str) -> str:
    """Why they are not run; empty if they are."""
    if not re.search(r"\bgpu\b", expression):
        return "takes a GPU for some minutes, and so runs only if asked for: -m gpu"
    try:
        read_gpu()
    except DeviceError as error:
        return f"{error.what}: {error.why}"
    return ""


@pytest.fixture(scope="session")
def onnx() -> Path:
    """The file that the engine was built from."""
    if ENGINE in os.environ:
        return Path(os.environ[ONNX])
    entry = next(entry for entry in zoo.entries() if entry.onnx is not None)
    assert entry.onnx is not None
    return entry.onnx


@pytest.fixture(scope="session")
def engine(onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An engine for this GPU with a profile of batches up to 16."""
    if ENGINE in os.environ:
        return Path(os.environ[ENGINE])
    product: Product = "tensorrt" if installed("tensorrt") else "tensorrt-rtx"
    if not installed(product):
        pytest.skip("neither TensorRT nor TensorRT-RTX is installed")
    out = tmp_path_factory.mktemp("engine") / "pose.engine"
    options = BuildOptions.from_settings({"optimization_level": 1}, (1, 4, 16))
    return build_engine(onnx, out, options, product=product).path


@pytest.fixture(scope="session")
def limits(engine: Path) -> ParityLimits:
    """What an engine of that precision is held to."""
    side = sidecar.read(engine)
    kept = LIMITS[side.precision]
    return kept if side.spec.provenance.weights_sha256 else kept.speed_only()


@pytest.fixture(params=get_args(Provider))
def provider(request: pytest.FixtureRequest) -> str:
    """A binding of CUDA to Python that is installed."""
    name: str = request.param
    try:
        open_cuda(0, name).close()
    except MissingDependency as error:
        pytest.skip(f"{name} is not here, because {error.why}")
    return name


@pytest.fixture
def cuda(provider: str) -> Iterator[Cuda]:
    """The GPU through one binding, its context active."""
    device = open_cuda(0, provider)
    with device.active():
        yield device
    device.close()


@pytest.fixture
def runner(engine: Path, provider: str) -> Iterator[TensorRTRunner]:
    """The engine through one binding."""
    with TensorRTRunner(engine, provider=provider) as opened:
        yield opened


@pytest.fixture(scope="session")
def images(engine: Path) -> Callable[[int], np.ndarray]:
    """Any number of real people, as the engine takes them."""
    spec = sidecar.read(engine).spec
    parts = []
    for photo in sample_photos():
        affines = box_affines(photo.boxes, spec.input_size, spec.padding)
        parts.append(to_input(warp_crops(photo.image, affines, spec.input_size), spec))
    people = np.concatenate(parts)

    def first(count: int, start: int = 0) -> np.ndarray:
        return np.ascontiguousarray(people[(start + np.arange(count)) % len(people)])

    return first
