"""What a run measured about itself."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from edgepose.errors import EdgeposeError
from edgepose.redact import redact

__all__ = ["End", "RunStatistics", "Stopwatch"]

End = Literal["finished", "limit", "window closed", "interrupted", "broke off"]
_REMEMBERED = 10_000  # frames; a camera runs for months


class Stopwatch:
    """Times the stages of a frame, by name; keeps the last 10,000 of each."""

    def __init__(self) -> None:
        self._samples: dict[str, deque[float]] = {}

    @contextlib.contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time a block."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - start)

    def add(self, stage: str, seconds: float) -> None:
        """Count a time that was taken elsewhere."""
        self._samples.setdefault(stage, deque(maxlen=_REMEMBERED)).append(seconds * 1000)

    def summary(self) -> dict[str, dict[str, float]]:
        """Stage -> ``p50`` and ``p95`` in milliseconds."""
        return {
            stage: {
                "p50": round(float(np.percentile(samples, 50)), 3),
                "p95": round(float(np.percentile(samples, 95)), 3),
            }
            for stage, samples in self._samples.items()
        }


@dataclass
class RunStatistics:
    """Counters of one run; grows while it goes on.

    Attributes:
        source: Name of the source, without credentials.
        live: Whether frames came in real time.
        frames: Frames that went all the way.
        persons: Poses found in them.
        dropped: Frames of a live source that were never looked at.
        seconds: Wall time.
        skipped: Pictures that could not be read, with the reason.
        end: Why it ended.
        error: The error that broke it off.
        stages: Times of the stages; for live sources ``age`` is from arrival to output.
    """

    source: str
    live: bool
    frames: int = 0
    persons: int = 0
    dropped: int = 0
    seconds: float = 0.0
    skipped: list[str] = field(default_factory=list)
    end: End = "finished"
    error: EdgeposeError | None = None
    stages: Stopwatch = field(default_factory=Stopwatch)

    @property
    def fps(self) -> float:
        """Frames a second, end to end."""
        return self.frames / self.seconds if self.seconds > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "source": self.source,
            "live": self.live,
            "end": self.end,
            "error": None if self.error is None else redact(str(self.error)),
            "frames": self.frames,
            "persons": self.persons,
            "dropped": self.dropped,
            "skipped": self.skipped,
            "seconds": round(self.seconds, 3),
            "fps": round(self.fps, 3),
            "stages_ms": self.stages.summary(),
        }
