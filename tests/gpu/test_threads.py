"""Several threads: a runner each, or one for all."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgepose.runtime.tensorrt import TensorRTRunner

pytestmark = pytest.mark.gpu

TURNS = 300
# Of the largest value; threads do not change which kernels run.
SAME = 1e-3


def all_right(
    runners: list[TensorRTRunner], inputs: list[np.ndarray], wanted: list[dict[str, np.ndarray]]
) -> list[str]:
    """Run each input in a thread of its own, over and over; what went wrong."""
    failures: list[str] = []
    start = threading.Barrier(len(runners))

    def work(index: int) -> None:
        start.wait()
        for turn in range(TURNS):
            try:
                found = runners[index].infer(inputs[index])
            except Exception as error:
                failures.append(f"thread {index}, turn {turn}: {error}")
                return
            for name, value in wanted[index].items():
                error_of = float(np.abs(found[name] - value).max() / np.abs(value).max())
                if not error_of < SAME:
                    failures.append(f"thread {index}, turn {turn}: {name} is off by {error_of}")
                    return

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(runners))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


def test_two_runners_in_two_threads(
    engine: Path, provider: str, images: Callable[..., np.ndarray]
) -> None:
    inputs = [images(4), images(16, 3)]
    with (
        TensorRTRunner(engine, provider=provider) as first,
        TensorRTRunner(engine, provider=provider) as second,
    ):
        runners = [first, second]
        wanted = [runner.infer(one) for runner, one in zip(runners, inputs, strict=True)]
        assert all_right(runners, inputs, wanted) == []


def test_two_runners_that_capture_while_the_other_works(
    engine: Path, provider: str, images: Callable[..., np.ndarray]
) -> None:
    """Neither has run before: graphs are captured while the other thread allocates and runs."""
    inputs = [images(1), images(4, 2)]
    with TensorRTRunner(engine, provider=provider, graphs=False) as quiet:
        wanted = [quiet.infer(one) for one in inputs]
    with (
        TensorRTRunner(engine, provider=provider) as first,
        TensorRTRunner(engine, provider=provider) as second,
    ):
        assert all_right([first, second], inputs, wanted) == []


def test_one_runner_for_several_threads(
    runner: TensorRTRunner, images: Callable[..., np.ndarray]
) -> None:
    inputs = [images(1), images(4, 2), images(16, 5)]
    wanted = [runner.infer(one) for one in inputs]
    assert all_right([runner] * 3, inputs, wanted) == []
