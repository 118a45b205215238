"""Workers without a process, for what only asks them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgepose.bench.worker import Opened, Warmed
from tests.fakes import heatmap_spec


def opened(**changes: Any) -> Opened:
    values: dict[str, Any] = {
        "describe": {"runtime": "fake", "version": "1"},
        "spec": heatmap_spec().to_dict(),
        "precision": "fp32",
        "import_ms": 300.0,
        "load_ms": 40.0,
        "baseline_bytes": 50_000_000,
        "loaded_bytes": 60_000_000,
        "file": "fake.onnx",
        "sha256": "0" * 64,
        "bytes": 1000,
        "max_batch": 64,
        "buckets": None,
        "stages": ("network", "frame"),
        "scene": "a photo",
        "heap": None,
        "record": None,
    }
    return Opened(**(values | changes))


class FakeWorker:
    """Takes as long as ``milliseconds(stage, batch)`` says, without taking any time."""

    def __init__(
        self, milliseconds: Callable[[str, int], float], facts: Opened | None = None
    ) -> None:
        self.milliseconds = milliseconds
        self.facts = facts or opened()
        self.asked: list[tuple[str, str, int]] = []
        self.restarts = 0

    def open(self) -> Opened:
        return self.facts

    def warm(self, stage: str, batch: int, window: int, max_warmup_s: float) -> Warmed:
        self.asked.append(("warm", stage, batch))
        first = next(b for _, _, b in self.asked)
        took = self.milliseconds(stage, batch)
        return Warmed(
            calls=2 * window,
            stable=max_warmup_s > 0,
            first_ms=took,
            first_inference_ms=9 * took,
            first_inference_batch=first,
        )

    def visit(self, stage: str, batch: int, calls: int, untimed: int) -> list[float]:
        self.asked.append(("visit", stage, batch))
        return [self.milliseconds(stage, batch)] * calls

    def restart(self) -> None:
        self.restarts += 1
