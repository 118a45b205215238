"""An engine on the GPU: the poses of its ONNX file, at any batch size, with and without graphs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepose.errors import EdgeposeError
from edgepose.estimator import Estimator
from edgepose.parity import ParityLimits, compare, sample_photos
from edgepose.runtime.onnxruntime import OnnxRunner
from edgepose.runtime.open import open_runner
from edgepose.runtime.tensorrt import TensorRTRunner

pytestmark = pytest.mark.gpu

Images = Callable[..., np.ndarray]
# Of the largest value: other batch sizes run in other kernels, which round otherwise.
OTHER_KERNELS = 0.02


def furthest(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> float:
    """Largest difference of any output, relative to its largest value."""
    assert found.keys() == wanted.keys()
    return max(float(np.abs(found[n] - wanted[n]).max() / np.abs(wanted[n]).max()) for n in wanted)


def test_it_finds_the_poses_of_its_file(
    runner: TensorRTRunner, onnx: Path, limits: ParityLimits, record_property: Any
) -> None:
    with OnnxRunner(onnx) as reference:
        parity = compare(reference, runner, sample_photos(), limits)
        # The second time, captured graphs are launched where there are any.
        again = compare(reference, runner, sample_photos(), limits)
    record_property("p99_px", parity.p99_px)
    record_property("oks_min", parity.oks_min)
    assert parity.failures == ()
    assert again.failures == ()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 15, 16, 17, 33])
def test_people_in_a_batch_come_out_as_alone(
    runner: TensorRTRunner, images: Images, count: int
) -> None:
    batch = images(count)
    together = runner.infer(batch)
    assert {len(value) for value in together.values()} == {count}
    alone = [runner.infer(batch[index : index + 1]) for index in range(count)]
    single = {name: np.concatenate([one[name] for one in alone]) for name in together}
    assert furthest(together, single) < OTHER_KERNELS


def test_no_people_give_no_poses(runner: TensorRTRunner, images: Images) -> None:
    assert {len(value) for value in runner.infer(images(1)[:0]).values()} == {0}


def test_the_same_people_give_the_same_numbers(runner: TensorRTRunner, images: Images) -> None:
    runs = [runner.infer(images(4)) for _ in range(5)]
    for run in runs[1:]:
        for name, value in run.items():
            np.testing.assert_array_equal(value, runs[0][name])


def test_batches_of_changing_size_do_not_mix(runner: TensorRTRunner, images: Images) -> None:
    wanted = {count: runner.infer(images(count)) for count in (1, 4, 16)}
    random = np.random.default_rng(0)
    for count in random.choice([1, 4, 16], 60):
        assert furthest(runner.infer(images(count)), wanted[count]) < OTHER_KERNELS


def test_graphs_change_nothing(engine: Path, provider: str, images: Images) -> None:
    with (
        TensorRTRunner(engine, provider=provider, graphs=True) as graphs,
        TensorRTRunner(engine, provider=provider, graphs=False) as plain,
    ):
        for count in (1, 4, 16):
            wanted = plain.infer(images(count))
            for _ in range(3):  # run, captured, launched
                assert furthest(graphs.infer(images(count)), wanted) < OTHER_KERNELS
        assert plain.describe()["graphs"].startswith("off")
        if provider == "cuda-bindings":
            assert graphs.describe()["graphs"].startswith("on")


def test_the_device_time_is_within_the_wall_time(
    runner: TensorRTRunner, images: Images, record_property: Any
) -> None:
    runner.infer(images(16))
    began = time.perf_counter()
    outputs, spent = runner.infer_timed(images(16))
    wall = 1000 * (time.perf_counter() - began)
    record_property("device_ms", spent)
    record_property("host_ms", wall)
    assert 0 < spent < wall
    assert furthest(outputs, runner.infer(images(16))) < OTHER_KERNELS


def test_the_result_is_the_callers_own(runner: TensorRTRunner, images: Images) -> None:
    first = runner.infer(images(2))
    kept = {name: value.copy() for name, value in first.items()}
    runner.infer(images(2, 5))
    for name, value in first.items():
        np.testing.assert_array_equal(value, kept[name])


def test_an_estimator_takes_the_file(engine: Path) -> None:
    photo = sample_photos()[0]
    with Estimator(open_runner(engine)) as pose:
        poses = pose(photo.image, photo.boxes, flip=True)
    assert np.isfinite(poses.keypoints).all()
    assert poses.keypoints.shape == (len(photo.boxes), 17, 2)


def test_what_is_closed_says_so(engine: Path, images: Images) -> None:
    runner = TensorRTRunner(engine)
    runner.close()
    runner.close()
    with pytest.raises(EdgeposeError, match="is closed"):
        runner.infer(images(1))
