from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import pipelines
from edgepose.bench import Schedule, sample_scene
from edgepose.estimator import Estimator
from edgepose.runtime.onnxruntime import OnnxRunner
from tests.fakes import heatmap_spec, write_tiny_onnx

SCHEDULE = Schedule(rounds=5, calls=2, pause_s=0, warmup=1, max_warmup_s=0)


def test_ours_is_the_estimator_and_every_call_of_the_session_is_seen(tmp_path: Path) -> None:
    path = write_tiny_onnx(tmp_path / "tiny.onnx", heatmap_spec())
    scene = sample_scene()
    ours = pipelines.edgepose_pipeline(path, threads=1)
    found = ours.call(scene.image, scene.people(5))
    expected = Estimator(OnnxRunner(path))(scene.image, scene.people(5))
    np.testing.assert_array_equal(found.keypoints, expected.keypoints)
    assert ours.watch.milliseconds > 0
    assert ours.watch.get_inputs()[0].name == "images"


class Clock:
    """Time that passes only where somebody says so."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


class Session:
    def __init__(self, clock: Clock, milliseconds: int) -> None:
        self.clock, self.milliseconds = clock, milliseconds

    def run(self, names: Any, feed: Any) -> str:
        self.clock.now += self.milliseconds * 1_000_000
        return "outputs"


def test_a_call_is_split_into_the_network_and_the_rest(monkeypatch: Any) -> None:
    clock = Clock()
    monkeypatch.setattr("time.perf_counter_ns", clock)
    batched = pipelines.Stopwatch(Session(clock, 10))
    looped = pipelines.Stopwatch(Session(clock, 3))

    def one_call(image: Any, boxes: Any) -> None:
        clock.now += 500_000 * len(boxes)
        assert batched.run(None, {}) == "outputs"

    def a_call_each(image: Any, boxes: Any) -> None:
        for _ in boxes:
            clock.now += 4_000_000
            looped.run(None, {})

    sides = {
        "net": [
            pipelines.Pipeline("edgepose", one_call, batched),
            pipelines.Pipeline("peer", a_call_each, looped),
        ]
    }
    samples = pipelines.measure_shares(sides, sample_scene(), (1, 8), SCHEDULE)
    expected = {
        ("edgepose", 1): (10.5, 10, 0.5),
        ("edgepose", 8): (14, 1.25, 0.5),
        ("peer", 1): (7, 3, 4),
        ("peer", 8): (56, 3, 4),
    }
    for (name, count), shares in expected.items():
        for share, value in zip(pipelines.SHARES, shares, strict=True):
            taken = samples[pipelines.key("net", name, count, share)]
            np.testing.assert_allclose(taken, np.full((5, 2), value))
