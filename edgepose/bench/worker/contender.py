"""A loaded artefact in its own process: what can be done with it, one method a request."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from edgepose.bench.scenes import Scene
from edgepose.bench.stages import frame_call, network_call, network_images
from edgepose.bench.timing import time_calls, warm_up
from edgepose.bench.worker.footprint import Footprint
from edgepose.bench.worker.request import Opened, Sustained, Warmed
from edgepose.closing import Closing
from edgepose.errors import InputError
from edgepose.estimator import Estimator

__all__ = ["Contender"]

_PEAK_CALLS = 3

Progress = Callable[[int, int], None]


class Contender(Closing):
    """Runs stages of an artefact and says what they took.

    Args:
        estimator: The artefact.
        scene: What it runs on.
        footprint: Its memory.
        opened: What is known of it.
    """

    def __init__(
        self, estimator: Estimator, scene: Scene, footprint: Footprint, opened: Opened
    ) -> None:
        self._estimator = estimator
        self._scene = scene
        self._footprint = footprint
        self._opened = opened
        self._calls: dict[tuple[str, int], Callable[[], Any]] = {}
        self._first: tuple[float, int] | None = None

    def warm(self, stage: str, batch: int, window: int, longest_s: float) -> Warmed:
        """Run a stage until its times settle."""
        first_ms, first_batch = self._first_inference(batch)
        warmed = warm_up(lambda: self.visit(stage, batch, 1, 0)[0], window, longest_s)
        return Warmed(
            calls=warmed.calls,
            stable=warmed.stable,
            first_ms=warmed.first_ms,
            first_inference_ms=first_ms,
            first_inference_batch=first_batch,
        )

    def visit(self, stage: str, batch: int, calls: int, untimed: int) -> list[float]:
        """Milliseconds of each of ``calls`` calls, on the host's clock or the device's."""
        call = self._call(stage, batch)
        if stage != "device":
            return time_calls(call, calls, untimed)
        for _ in range(untimed):
            call()
        return [float(call()) for _ in range(calls)]

    def sustain(self, stage: str, batch: int, seconds: float) -> Sustained:
        """Run a stage without a break for so long."""
        call, clock = self._call(stage, batch), time.perf_counter_ns
        calls = 0
        started = now = clock()
        end = started + int(seconds * 1e9)
        while now < end:
            call()
            calls += 1
            now = clock()
        return Sustained(
            calls=calls, seconds=(now - started) / 1e9, started_ns=started, ended_ns=now
        )

    def peak(self, batch: int) -> dict[str, int]:
        """Memory of the whole way with a batch, at its highest."""
        self._check(batch)
        call = frame_call(self._estimator, self._scene, batch)

        def run() -> None:
            self._first_inference(batch)
            for _ in range(_PEAK_CALLS):
                call()

        return self._footprint.peak(batch, run)

    def memory(self) -> dict[str, Any]:
        """The record's section on memory."""
        return self._footprint.section(self._opened.bytes)

    def describe(self) -> dict[str, Any]:
        """What is in force by now, as the runner says."""
        return self._estimator.runner.describe()

    def predict(self, job: dict[str, Any], progress: Progress) -> dict[str, Any]:
        """Predictions on a data set, see :func:`edgepose.bench.accuracy.predict_job`."""
        from edgepose.bench.accuracy import predict_job

        found: dict[str, Any] = predict_job(self._estimator, job, progress)
        return found

    def close(self) -> None:
        """Close the runner."""
        self._estimator.close()

    def _first_inference(self, batch: int) -> tuple[float, int]:
        """Milliseconds and batch of the first inference of all, which is made now if need be."""
        if self._first is None:
            call = network_call(self._estimator, self._scene, batch)
            self._first = (round(time_calls(call, 1)[0], 3), batch)
        return self._first

    def _call(self, stage: str, batch: int) -> Callable[[], Any]:
        """Made once, so that preparing what the network is fed is never timed."""
        key = (stage, batch)
        if key not in self._calls:
            self._check(batch)
            if stage not in self._opened.stages:
                raise InputError(
                    f"the stage '{stage}' cannot be timed",
                    f"{self._opened.describe.get('runtime')} has {', '.join(self._opened.stages)}",
                )
            self._calls[key] = self._made(stage, batch)
        return self._calls[key]

    def _made(self, stage: str, batch: int) -> Callable[[], Any]:
        if stage == "frame":
            return frame_call(self._estimator, self._scene, batch)
        if stage == "network":
            return network_call(self._estimator, self._scene, batch)
        images = network_images(self._estimator, self._scene, batch)
        timed: Any = self._estimator.runner
        return lambda: timed.infer_timed(images)[1]

    def _check(self, batch: int) -> None:
        why = self._opened.refuses(batch)
        if why is not None:
            raise InputError(f"batch {batch} cannot be run", why, "choose another --batch")
