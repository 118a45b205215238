from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

from edgepose.bench.cost import _gemm, roof
from edgepose.bench.cost import roof as roof_function
from edgepose.bench.cost.roof import roof as measure

roof_module = sys.modules["edgepose.bench.cost.roof"]


def test_a_cpu_has_a_roof_and_says_how_it_was_measured() -> None:
    found = roof(threads=1, seconds=0.3)
    assert found["gflops"] > 0.1
    assert "FP32" in found["how"]
    assert "INT8 kernels" in found["how"]
    assert "on 1 thread, " in found["how"]
    assert "NumPy's BLAS" in found["how"]
    assert "onnxruntime" in found["how"]
    assert roof_function is measure


def test_the_threads_are_those_of_the_artefacts(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    answer = {
        "gflops": 12.345, "size": 512, "calls": 7, "sizes": "256, 512", "device": "cpu",
        "by": "onnxruntime", "others": {"NumPy's BLAS": 9.6},
    }  # fmt: skip

    def run(command: list[str], **options: Any) -> Any:
        seen.update(options, request=json.loads(command[-1]))
        return SimpleNamespace(stdout="noise\n" + json.dumps(answer))

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setenv("OMP_NUM_THREADS", "99")
    found = roof(threads=3)
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        assert seen["env"][name] == "3"
    assert seen["request"]["threads"] == 3
    assert found["gflops"] == 12.3
    assert found["how"].endswith(
        "onnxruntime on 3 threads, best of 7 products of sizes 256 … 512, reached at 512; "
        "NumPy's BLAS: 10 GFLOP/s."
    )
    roof()
    assert seen["env"]["OMP_NUM_THREADS"] == "99"


def test_a_device_without_a_probe_is_unavailable() -> None:
    found = roof(device="openvino")
    assert found == {"unavailable": "there is no probe for the device 'openvino'"}


@pytest.mark.parametrize(
    "outcome",
    [SimpleNamespace(stdout=""), SimpleNamespace(stdout="Segmentation fault\n"), OSError("no"),
     subprocess.TimeoutExpired("probe", 1)],
)  # fmt: skip
def test_a_probe_that_dies_is_unavailable(outcome: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: Any, **__: Any) -> Any:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(subprocess, "run", run)
    assert "gave no result" in roof()["unavailable"]


def test_the_product_that_onnxruntime_runs_is_what_onnx_says() -> None:
    model = onnx.load_from_string(_gemm.MATMUL)
    onnx.checker.check_model(model)
    assert [node.op_type for node in model.graph.node] == ["MatMul"]
    multiply = _gemm.onnxruntime_product(threads=1)
    assert multiply is not None
    a, b = np.random.default_rng(0).random((2, 5, 5), dtype=np.float32)
    np.testing.assert_allclose(multiply(a, b)[0], a @ b, rtol=1e-5)


class Clock:
    """Time that passes only inside a product, at a speed for each size."""

    def __init__(self, speeds: dict[int, list[float]]) -> None:
        self.now = 0.0
        self.speeds = speeds
        self.calls: dict[int, int] = dict.fromkeys(speeds, 0)

    def multiply(self, n: int) -> None:
        turns = self.speeds[n]
        speed = turns[self.calls[n] % len(turns)]
        self.calls[n] += 1
        self.now += 2 * n**3 / speed


def test_the_best_call_counts_and_sizes_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock({100: [1e8, 5e8], 200: [2e8, 2e8, 9e8]})
    monkeypatch.setattr(_gemm.time, "perf_counter", lambda: clock.now)
    found = _gemm.best(clock.multiply, (100, 200), seconds=2.0)
    assert found["gflops"] == pytest.approx(0.9)
    assert (found["size"], found["sizes"]) == (200, "100, 200")
    took = {n: clock.calls[n] * n**3 for n in clock.calls}
    assert clock.calls[100] > clock.calls[200] > 5
    assert 0.1 < took[100] / took[200] < 10


def test_a_size_that_would_take_all_the_time_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock({100: [1e6], 2000: [1e6]})
    monkeypatch.setattr(_gemm.time, "perf_counter", lambda: clock.now)
    found = _gemm.best(clock.multiply, (100, 2000), seconds=5.0)
    assert (clock.calls[2000], found["sizes"]) == (0, "100")


def test_a_gpu_multiplies_in_its_artefacts_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    class Matrix:
        def __init__(self, n: int, dtype: str) -> None:
            self.n, self.dtype = n, dtype

        def __matmul__(self, other: Matrix) -> None:
            asked.append(self.dtype)

    asked: list[str] = []
    monkeypatch.setattr(_gemm, "GPU_SIZES", (8,))
    torch = SimpleNamespace(
        float16="half",
        float32="single",
        __version__="0",
        device=lambda kind, index: f"{kind}:{index}",
        rand=lambda two, n, _, device, dtype: [Matrix(n, dtype)] * two,
        backends=SimpleNamespace(cuda=SimpleNamespace(matmul=SimpleNamespace(allow_tf32=False))),
        cuda=SimpleNamespace(
            is_available=lambda: True,
            device_count=lambda: 2,
            synchronize=lambda where: None,
            get_device_name=lambda index: f"GPU {index}",
        ),
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    for half, dtype, kind in ((True, "half", "FP16"), (False, "single", "FP32")):
        asked.clear()
        found = _gemm.on_cuda({"index": 1, "half": half, "seconds": 0.01})
        assert set(asked) == {dtype}
        assert found["kind"].startswith(kind)
        assert found["name"] == "GPU 1"
    assert "no GPU 2" in _gemm.on_cuda({"index": 2, "half": True, "seconds": 0.01})["unavailable"]
