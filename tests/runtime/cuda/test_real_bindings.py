"""The real cuda-bindings and pycuda, where they are installed, over a driver that needs no GPU.

``fake_libcuda.c`` is that driver: the bindings load it as libcuda.so.1, so that their own code
converts and judges what edgepose gives them.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("fake_libcuda.c")
ROOT = Path(__file__).parents[3]

CODE = """
import ctypes, os, sys, threading
sys.setdlopenflags(os.RTLD_LAZY)  # pycuda's library names far more calls than the fake has
from edgepose.runtime.cuda import open_cuda
from tests.runtime.cuda.scenario import exercise
library = ctypes.CDLL("libcuda.so.1")
cuda = open_cuda(0, sys.argv[1])
assert cuda.gpu.name == "Fake GPU" and cuda.provider == sys.argv[1]
failures = []
def work():
    try:
        for _ in range(2):
            exercise(cuda, library.fake_cuda_live)
        assert library.fake_cuda_depth() == 0
    except BaseException as error:
        failures.append(repr(error))
work()
thread = threading.Thread(target=work)
thread.start()
thread.join()
cuda.close()
cuda.close()
if sys.argv[1] == "pycuda":
    import pycuda.driver
    from tests.runtime.cuda.names import TABLE
    names = TABLE["pycuda"]
    for name in [*names["parameters"], *names["exceptions"]]:
        assert hasattr(pycuda.driver, name), name
    for kind, members in names["members"].items():
        for member in members:
            assert hasattr(getattr(pycuda.driver, kind), member), (kind, member)
print(failures, library.fake_cuda_live(), library.fake_cuda_depth(), library.fake_cuda_retained())
"""


RUNNER = """
import ctypes, gc, os, sys
from pathlib import Path
sys.setdlopenflags(os.RTLD_LAZY)
import numpy as np
import pytest
from edgepose.runtime.tensorrt import TensorRTRunner
from edgepose.trt.gpu import read_gpu
from tests.trt.engines import write_fake_engine
from tests.trt.fake import make
library = ctypes.CDLL("libcuda.so.1")
trt = make("10.3.0").install(pytest.MonkeyPatch())
stdout, sys.stdout = sys.stdout, sys.stderr  # the fake builder's words
engine = write_fake_engine(Path(sys.argv[2]), trt, gpu=read_gpu())
sys.stdout = stdout
images = np.random.default_rng(0).normal(size=(20, 3, 64, 48)).astype(np.float32)
cells = images.mean(1).reshape(20, 16, 4, 12, 4).mean((2, 4))
with TensorRTRunner(engine, provider=sys.argv[1], graphs=False) as runner:
    for count in (1, 3, 20, 3):
        found, spent = runner.infer_timed(images[:count])
        np.testing.assert_allclose(found["heatmaps"][:, 7], cells[:count], rtol=1e-4, atol=1e-6)
        assert spent > 0
    assert runner.describe()["memory"].startswith(sys.argv[3])
forgotten = TensorRTRunner(engine, provider=sys.argv[1])
for _ in range(3):
    forgotten.infer(images[:2])  # with graphs, where there are any
del forgotten
gc.collect()
kept = TensorRTRunner(engine, provider=sys.argv[1])  # goes when the process ends
kept.infer(images)
print(library.fake_cuda_depth())
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("needs Linux and a C compiler, to build the stand-in for libcuda.so.1")
    folder = tmp_path_factory.mktemp("cuda")
    target = folder / "libcuda.so.1"
    command = [compiler, "-shared", "-fPIC", "-w", "-Wl,-soname,libcuda.so.1", "-o", str(target)]
    subprocess.run([*command, str(SOURCE), "-lpthread", "-ldl"], check=True, timeout=60)
    return folder


def run(library: Path, code: str, *arguments: object, **variables: str) -> str:
    """Run code on that library, with nothing on stderr but what a fake says; gives its stdout."""
    provider = str(arguments[0])
    package = {"cuda-bindings": "cuda", "pycuda": "pycuda"}[provider]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {provider}: pip install {provider}")
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "LD_LIBRARY_PATH": str(library),
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        **variables,
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.replace("native code writes where it likes\n", "") == ""
    return done.stdout


@pytest.mark.parametrize("provider", ["cuda-bindings", "pycuda"])
def test_the_real_binding_takes_what_it_is_given(
    library: Path, provider: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    retained = 1 if provider == "pycuda" else 0
    assert run(library, CODE, provider, FAKE_CUDA_LOG=str(log)) == f"[] 0 0 {retained}\n"
    calls = log.read_text()
    assert "cuStreamCreate 1" in calls  # non-blocking
    assert "cuMemHostAlloc 100 3" in calls  # portable and mapped
    if provider == "cuda-bindings":
        assert "cuStreamBeginCapture 1" in calls  # of this thread alone
        assert calls.count("cuGraphDestroy") == calls.count("cuGraphInstantiate")


@pytest.mark.parametrize("provider", ["cuda-bindings", "pycuda"])
@pytest.mark.parametrize("integrated", [False, True])
def test_a_runner_on_the_real_binding(
    library: Path, provider: str, integrated: bool, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    variables = {"FAKE_CUDA_LOG": str(log)} | ({"FAKE_CUDA_INTEGRATED": "1"} if integrated else {})
    memory = "mapped" if integrated else "page-locked"
    assert run(library, RUNNER, provider, tmp_path, memory, **variables) == "0\n"
    calls = [line.split()[0] for line in log.read_text().splitlines()]
    pairs = [("cuMemAlloc", "cuMemFree"), ("cuMemHostAlloc", "cuMemFreeHost")]
    pairs += [("cuStreamCreate", "cuStreamDestroy"), ("cuEventCreate", "cuEventDestroy")]
    for make, destroy in pairs:
        assert calls.count(make) == calls.count(destroy) > 0 or (integrated and "Alloc" in make)
    graphs = calls.count("cuGraphInstantiate")
    assert calls.count("cuGraphExecDestroy") == graphs
    assert (graphs > 0) == (provider == "cuda-bindings")
    assert ("cuMemcpyHtoDAsync" in calls) != integrated


def test_the_table_is_what_the_binding_has() -> None:
    if importlib.util.find_spec("cuda") is None:
        pytest.skip("needs cuda-bindings: pip install cuda-bindings")
    from cuda.bindings import driver

    from tests.runtime.cuda.names import TABLE

    table = TABLE["cuda-bindings"]
    for call, parameters in table["parameters"].items():
        words = getattr(driver, call).__doc__.splitlines()[0]
        inner = words.partition("(")[2].rpartition(")")[0]
        found = [part.split(":")[0].split()[-1] for part in inner.split(",") if part.strip()]
        assert found == parameters, call
    for mode in table["CUstreamCaptureMode"]:
        assert hasattr(driver.CUstreamCaptureMode, mode)
