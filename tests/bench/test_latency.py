from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgepose.bench import Schedule, latency_records, network_cell, poses_cell, sample_scene
from edgepose.errors import InputError
from edgepose.estimator import Estimator
from edgepose.runtime.onnxruntime import OnnxRunner
from tests.fakes import FakeRunner, brightness_maps, heatmap_spec, write_tiny_onnx

SCHEDULE = Schedule(rounds=3, calls=2, pause_s=0.0, warmup=1)


def test_the_two_stages_time_the_same_batch() -> None:
    """What the network is given alone is what it is given on the whole way."""
    seen: list[np.ndarray] = []

    def respond(images: np.ndarray) -> dict[str, np.ndarray]:
        seen.append(images.copy())
        return brightness_maps(images)

    estimator = Estimator(FakeRunner(heatmap_spec(), respond))
    network_cell("n", estimator, sample_scene(), 5).call()
    poses = poses_cell("p", estimator, sample_scene(), 5).call()
    assert len(poses) == 5
    np.testing.assert_array_equal(seen[0], seen[1])


def test_records_hold_every_sample(tmp_path: Path) -> None:
    path = write_tiny_onnx(tmp_path / "t.onnx", heatmap_spec())
    estimators = {name: Estimator(OnnxRunner(path, threads=1)) for name in ("one", "two")}
    records = latency_records(estimators, sample_scene(), (1, 3), "edgepose bench", SCHEDULE)
    assert [r.artefact["name"] for r in records if r.artefact] == ["one", "two"]
    for record in records:
        assert [(r["stage"], r["batch"]) for r in record.results] == [
            ("network", 1),
            ("poses", 1),
            ("network", 3),
            ("poses", 3),
        ]
        for row in record.results:
            samples = np.array(row["samples_ms"])
            assert samples.shape == (3, 2)
            assert row["milliseconds"]["p50"] == pytest.approx(np.median(samples), abs=2e-3)
            per_second = 1000 * row["batch"] / np.median(samples)
            assert row["persons_per_second"] == pytest.approx(per_second, rel=0.05)
        assert record.protocol["timed_together"] == ["one", "two"]
        assert record.runner == estimators["one"].runner.describe()


def test_a_batch_the_artefact_does_not_take_is_refused() -> None:
    scene = sample_scene()
    small = Estimator(FakeRunner(heatmap_spec(), brightness_maps, max_batch=4))
    with pytest.raises(InputError, match="at most 4"):
        latency_records({"f": small}, scene, (8,), "", SCHEDULE)
    fixed = Estimator(FakeRunner(heatmap_spec(), brightness_maps, buckets=(1, 4)))
    with pytest.raises(InputError, match="batches of 1, 4"):
        latency_records({"f": fixed}, scene, (2,), "", SCHEDULE)
