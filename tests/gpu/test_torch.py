"""torch in the same process: imported before and after, working before, between and beside."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepose.runtime.tensorrt import TensorRTRunner
from tests.gpu.test_runner import furthest

pytestmark = pytest.mark.gpu


@pytest.fixture
def torch() -> Any:
    """torch, on a machine where it has CUDA; imported only when a test runs."""
    module = pytest.importorskip("torch", reason="torch is not here")
    if not module.cuda.is_available():
        pytest.skip(f"torch {module.__version__} sees no CUDA device")
    return module


def is_right(torch: Any) -> bool:
    """A product on the GPU against the same on the CPU."""
    left, right = torch.randn(256, 256), torch.randn(256, 256)
    found = (left.cuda() @ right.cuda()).cpu()
    return bool(torch.allclose(found, left @ right, atol=1e-2))


def test_torch_works_before_between_and_after(
    torch: Any, engine: Path, provider: str, images: Callable[[int], np.ndarray]
) -> None:
    assert is_right(torch)
    with TensorRTRunner(engine, provider=provider) as runner:
        wanted = runner.infer(images(4))
        for _ in range(20):
            assert is_right(torch)
            assert furthest(runner.infer(images(4)), wanted) < 1e-3
    assert is_right(torch)


def test_torch_works_in_its_own_stream_beside(
    torch: Any, runner: TensorRTRunner, images: Callable[[int], np.ndarray]
) -> None:
    wanted = runner.infer(images(4))
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        state = torch.eye(1024, device="cuda")
        turn = torch.full((1024, 1024), 1 / 1024, device="cuda")
        for _ in range(200):
            state = turn @ state
            assert furthest(runner.infer(images(4)), wanted) < 1e-3
    stream.synchronize()
    assert torch.allclose(state, turn, atol=1e-4)


@pytest.mark.parametrize("order", ["torch first", "engine first"])
def test_either_may_come_first_in_a_process(
    torch: Any, engine: Path, provider: str, order: str
) -> None:
    """Both orders of loading, and the way out: no hang and no word on stderr at the end."""
    use_torch = "import torch; assert torch.ones(8, device='cuda').sum().item() == 8"
    use_engine = (
        "import numpy as np; from edgepose.runtime.tensorrt import TensorRTRunner; "
        f"r = TensorRTRunner({str(engine)!r}, provider={provider!r}); "
        "n = r.infer(np.zeros((2, 3, *r.spec.input_size), np.float32)); "
        "assert all(np.isfinite(v).all() for v in n.values())"
    )
    lines = [use_torch, use_engine] if order == "torch first" else [use_engine, use_torch]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Error" not in done.stderr
