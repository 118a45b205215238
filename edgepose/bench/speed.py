"""Whether another precision pays on this machine: two artefacts side by side, in a few seconds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgepose.bench.hardware import fingerprint
from edgepose.bench.statistics import paired_ratio
from edgepose.bench.timing import Cell, Schedule, measure
from edgepose.runtime.onnxruntime import OnnxRunner
from edgepose.spec import PoseSpec

__all__ = ["Speed", "compare_speed"]

_SCHEDULE = Schedule(rounds=15, calls=3, pause_s=0.01, max_warmup_s=0.5)


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Time of an artefact over that of another, on the CPU of this machine.

    Attributes:
        ratio: Median of the paired ratios.
        low: Lower end of its 95 % interval.
        high: Upper end.
        batch: People at a time.
        threads: Threads inside one operator; None for onnxruntime's choice, all cores.
        cpu: The processor's name, where the system tells it.
        runtime: What ran both.
    """

    ratio: float
    low: float
    high: float
    batch: int
    threads: int | None
    cpu: str | None
    runtime: str

    @property
    def pays(self) -> bool:
        """Whether it is faster, beyond doubt."""
        return self.high < 1

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self) | {"pays": self.pays}


def compare_speed(
    contender: Path, baseline: Path, batch: int = 1, threads: int | None = None
) -> Speed:
    """Time two ONNX artefacts of one spec in shuffled rounds.

    Args:
        contender: The file in question.
        baseline: The file it would replace.
        batch: People at a time.
        threads: Threads inside one operator; onnxruntime's choice by default.

    Raises:
        GraphError: onnxruntime cannot run one of them.
    """
    with (
        OnnxRunner(contender, threads=threads) as ours,
        OnnxRunner(baseline, threads=threads) as theirs,
    ):
        images = _images(ours.spec, batch)
        cells = [
            Cell("contender", lambda: ours.infer(images)),
            Cell("baseline", lambda: theirs.infer(images)),
        ]
        samples = measure(cells, _SCHEDULE)
        runtime = ours.describe()
    ratio = paired_ratio(samples["contender"], samples["baseline"])
    if ratio.interval is None:
        raise AssertionError("the schedule has rounds enough for an interval")
    low, high = ratio.interval
    return Speed(
        ratio=round(ratio.value, 3),
        low=round(low, 3),
        high=round(high, 3),
        batch=batch,
        threads=threads,
        cpu=fingerprint()["hardware"]["cpu"],
        runtime=f"{runtime['runtime']} {runtime['version']}",
    )


def _images(spec: PoseSpec, batch: int) -> np.ndarray[Any, Any]:
    """Noise of the size and type that the graph takes."""
    height, width = spec.input_size
    shape = (batch, 3, height, width) if spec.layout == "nchw" else (batch, height, width, 3)
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    if spec.dtype == "uint8":
        return noise
    return (noise / 128 - 1).astype(spec.dtype)
