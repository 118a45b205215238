"""One network file through several pipelines: what each takes, with and without the network.

Every call is split while it runs: the time inside the onnxruntime session is the network's, the
rest is the pipeline's own (crop, normalise, decode, map back, and all Python between). Both come of
the same call, so that nothing that the machine does between two calls can pass for overhead.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgepose.bench.scenes import Scene
from edgepose.bench.timing import Cell, Samples, Schedule, measure, time_calls
from edgepose.estimator import Estimator
from edgepose.runtime.onnxruntime import OnnxRunner

__all__ = ["OURS", "SHARES", "Pipeline", "Stopwatch", "edgepose_pipeline", "measure_shares"]

OURS = "edgepose"
SHARES = {
    "frame": "image and boxes to keypoints",
    "network": "of that, inside the session; a person",
    "rest": "of that, everything else; a person",
}


class Stopwatch:
    """An onnxruntime session that adds up the time spent in it.

    Args:
        session: Whatever has ``run``; all else is handed through.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self.milliseconds = 0.0

    def run(self, *arguments: Any) -> Any:
        """See :meth:`onnxruntime.InferenceSession.run`."""
        began = time.perf_counter_ns()
        outputs = self._session.run(*arguments)
        self.milliseconds += (time.perf_counter_ns() - began) / 1e6
        return outputs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


@dataclass(frozen=True)
class Pipeline:
    """One way from an image and boxes to keypoints.

    Attributes:
        name: Whose it is.
        call: (image, boxes) -> whatever it finds.
        watch: The session it runs the network in.
    """

    name: str
    call: Any
    watch: Stopwatch


@dataclass(frozen=True)
class _Frame(Cell):
    """A call of a pipeline, of which each visit also keeps the network's part."""

    watch: Stopwatch
    inside: list[list[float]] = field(default_factory=list)

    def visit(self, calls: int, untimed: int) -> list[float]:
        """See :class:`edgepose.bench.timing.Turn`."""
        time_calls(self.call, untimed)
        whole, inside = [], []
        for _ in range(calls):
            self.watch.milliseconds = 0.0
            whole += time_calls(self.call, 1)
            inside.append(self.watch.milliseconds)
        self.inside.append(inside)
        return whole


def edgepose_pipeline(path: Path, threads: int) -> Pipeline:
    """Our Estimator on an ONNX file that carries its spec."""
    runner = OnnxRunner(path, threads=threads)
    # Taken where rtmlib and everyone else call it, so that edgepose's own words around the session
    # count as edgepose's time.
    watch = Stopwatch(runner._session)
    runner._session = watch
    return Pipeline(OURS, Estimator(runner), watch)


def measure_shares(
    pipelines: Mapping[str, Sequence[Pipeline]],
    scene: Scene,
    counts: Sequence[int],
    schedule: Schedule,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Samples]:
    """Time all pipelines on all networks in the same shuffled rounds.

    Args:
        pipelines: Network -> the pipelines it goes through.
        scene: The picture and its people.
        counts: Numbers of boxes.
        schedule: How often.
        progress: Called with (visits done, visits in all).

    Returns:
        :func:`key` -> (rounds, calls) milliseconds; those of ``network`` and ``rest`` are a person.
    """
    frames = {
        (network, pipeline.name, count): _Frame(
            key(network, pipeline.name, count, "frame"),
            _call(pipeline, scene, count),
            pipeline.watch,
        )
        for network, several in pipelines.items()
        for pipeline in several
        for count in counts
    }
    whole = measure(list(frames.values()), schedule, progress)
    samples = dict(whole)
    for (network, name, count), frame in frames.items():
        inside = np.array(frame.inside)  # (rounds, calls)
        samples[key(network, name, count, "network")] = inside / count
        samples[key(network, name, count, "rest")] = (whole[frame.name] - inside) / count
    return samples


def key(network: str, pipeline: str, count: int, share: str) -> str:
    """Key of the samples of one of :data:`SHARES`."""
    return f"{pipeline} {network} x{count} {share}"


def _call(pipeline: Pipeline, scene: Scene, count: int) -> Callable[[], Any]:
    boxes = scene.people(count)
    return lambda: pipeline.call(scene.image, boxes)
