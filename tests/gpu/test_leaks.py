"""What runs for days must not grow."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepose.runtime.cuda import Cuda, open_cuda
from edgepose.runtime.tensorrt import TensorRTRunner

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]

MIB = 2**20
INFERENCES, SETTLED = 10_000, 1_000
# The GPU's free memory is everybody's: whoever else starts or ends something moves it.
DEVICE_MIB, HOST_MIB = 8, 24


@pytest.fixture
def watch(provider: str) -> Iterator[Callable[[], tuple[float, float]]]:
    """MiB in use on the device, and resident in this process."""
    cuda: Cuda = open_cuda(0, provider)

    def used() -> tuple[float, float]:
        gc.collect()
        with cuda.active():
            free, total = cuda.memory()
        status = Path("/proc/self/status").read_text()
        match = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
        assert match is not None
        return (total - free) / MIB, int(match[1]) / 1024

    yield used
    cuda.close()


def judge(
    before: tuple[float, float], after: tuple[float, float], record_property: Callable[..., Any]
) -> None:
    device, host = after[0] - before[0], after[1] - before[1]
    record_property("device_growth_mib", round(device, 2))
    record_property("resident_growth_mib", round(host, 2))
    assert device < DEVICE_MIB
    assert host < HOST_MIB


def test_ten_thousand_inferences_leave_nothing_behind(
    runner: TensorRTRunner,
    images: Callable[[int], np.ndarray],
    watch: Callable[[], tuple[float, float]],
    record_property: Callable[..., Any],
) -> None:
    batches = [images(count) for count in (1, 4, 16, 3)]
    for turn in range(SETTLED):
        runner.infer(batches[turn % len(batches)])
    before = watch()
    for turn in range(INFERENCES):
        runner.infer(batches[turn % len(batches)])
    record_property("inferences", INFERENCES)
    judge(before, watch(), record_property)


def test_opening_and_closing_leaves_nothing_behind(
    engine: Path,
    provider: str,
    images: Callable[[int], np.ndarray],
    watch: Callable[[], tuple[float, float]],
    record_property: Callable[..., Any],
) -> None:
    def once() -> None:
        with TensorRTRunner(engine, provider=provider) as runner:
            for _ in range(3):
                runner.infer(images(4))

    for _ in range(3):  # the first loads kernels that stay
        once()
    before = watch()
    for _ in range(10):
        once()
    judge(before, watch(), record_property)


def test_a_runner_that_nobody_closes_is_freed_with_its_last_reference(
    engine: Path,
    provider: str,
    images: Callable[[int], np.ndarray],
    watch: Callable[[], tuple[float, float]],
    record_property: Callable[..., Any],
) -> None:
    def once() -> None:
        TensorRTRunner(engine, provider=provider).infer(images(4))

    for _ in range(3):
        once()
    before = watch()
    for _ in range(5):
        once()
    judge(before, watch(), record_property)
