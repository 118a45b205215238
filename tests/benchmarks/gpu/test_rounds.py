"""Timing side by side: everyone's turn in every round, and those who drop out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.gpu.contenders import entries
from benchmarks.gpu.rounds import Plan, figures, take_rounds
from benchmarks.gpu.worker import Timer
from edgepose.errors import EdgeposeError


class Asked:
    """Takes ``ms`` a call, fails at the visit ``dies``."""

    def __init__(
        self, name: str, log: list[str], ms: float, dies: int = -1, device: bool = True
    ) -> None:
        self.name, self.log, self.ms, self.dies, self.device = name, log, ms, dies, device
        self.visits = 0

    def ask(self, timeout: float, do: str, **values: Any) -> dict[str, Any]:
        assert do == "time"
        assert timeout >= 10
        self.visits += 1
        if self.visits == self.dies:
            raise EdgeposeError(f"{self.name} failed", "out of memory")
        self.log.append(self.name)
        host = [self.ms] * values["calls"]
        return {"host": host, "device": [self.ms / 2] * values["calls"] if self.device else None}


def timed(plan: Plan, end: float = 1e9, **contenders: Asked) -> dict[str, Any]:
    calls = {name: 3 for name in contenders}
    return take_rounds(contenders, 4, calls, plan, end, clock=lambda: 0.0)


def test_every_round_visits_all_in_another_order() -> None:
    log: list[str] = []
    timed(Plan(rounds=8), a=Asked("a", log, 1), b=Asked("b", log, 2), c=Asked("c", log, 3))
    rounds = [tuple(log[i : i + 3]) for i in range(0, 24, 3)]
    assert len(rounds) == 8
    assert all(sorted(one) == ["a", "b", "c"] for one in rounds)
    assert len(set(rounds)) > 2


def test_one_that_fails_keeps_its_rounds_and_the_others_go_on() -> None:
    log: list[str] = []
    found = timed(Plan(rounds=6), a=Asked("a", log, 1), b=Asked("b", log, 2, dies=4))
    assert len(found["a"].host) == 6
    assert len(found["b"].host) == 3
    assert found["b"].words == "b failed: out of memory"
    rows = figures(4, found, "a")
    assert rows[1]["words"] == "b failed: out of memory"
    assert rows[1]["host_to_host_ms"]["p50"] == 2
    # Three rounds give no interval.
    assert rows[1]["ratio"] == {"to": "a", "value": 2, "low": None, "high": None}


def test_time_over_leaves_two_rounds() -> None:
    log: list[str] = []
    found = timed(Plan(rounds=50), end=-1, a=Asked("a", log, 1))
    assert len(found["a"].host) == 2


def test_rows_hold_percentiles_rates_and_samples() -> None:
    log: list[str] = []
    found = timed(Plan(rounds=3), a=Asked("a", log, 2), b=Asked("b", log, 1, device=False))
    a, b = figures(4, found, "a")
    assert set(a["host_to_host_ms"]) >= {"p50", "p90", "p99"}
    assert a["device_ms"]["p50"] == 1
    assert a["persons_per_second"] == 2000
    assert np.shape(a["samples_ms"]["host"]) == (3, 3)
    assert "ratio" not in a
    assert b["device_ms"] is None
    assert b["ratio"]["value"] == 0.5
    assert "ratio" not in figures(4, found, "not here")[1]


@pytest.mark.parametrize(("ms", "calls"), [(0.01, 40), (1, 40), (5, 8), (1000, 4)])
def test_a_visit_takes_about_as_long_for_all(ms: float, calls: int) -> None:
    assert Plan().calls(ms) == calls


class Contender:
    """Knows what it was called with; its clock says that each call takes 2 ms."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.now = 0
        self.has_events = True

    def clock(self) -> int:
        return self.now

    def call(self, images: np.ndarray) -> None:
        self.batches.append(len(images))
        self.now += 2_000_000

    def device_ms(self, images: np.ndarray) -> float | None:
        return 0.5 * len(images) if self.has_events else None

    def describe(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        pass


def test_a_timer_times_what_it_says() -> None:
    contender = Contender()
    timer = Timer(contender, np.zeros((3, 2), np.float32), contender.clock)
    assert timer.warm(4) == {"first_s": 0.002, "ms": 2.0}
    contender.batches.clear()
    found = timer.time(4, untimed=2, calls=3)
    assert found == {"host": [2.0, 2.0, 2.0], "device": [2.0, 2.0, 2.0]}
    assert contender.batches == [4] * 5
    contender.has_events = False
    assert timer.time(1, untimed=0, calls=2)["device"] is None


def test_all_contenders_of_a_model() -> None:
    engines = {"tensorrt fp32": "a", "tensorrt fp16": "b", "tensorrt int8": "c"}
    onnx = {"fp32": "x.onnx", "fp16": "y.onnx", "int8": "z.onnx"}
    found = entries("m@64x48", onnx, engines, {"torch": "/other/python"})
    assert [entry.name for entry in found] == [
        "torch eager-fp32",
        "torch compile-fp16",
        "torch compile-fp16-graphs",
        "onnxruntime-cuda fp32",
        "onnxruntime-cuda fp16",
        "tensorrt fp32",
        "tensorrt fp16",
        "tensorrt fp16 graphs",
        "tensorrt int8",
        "tensorrt int8 graphs",
    ]
    assert {entry.python for entry in found if entry.kind == "torch"} == {"/other/python"}
    assert {entry.python for entry in found if entry.kind != "torch"} == {None}
    assert [entry.graphs for entry in found if entry.kind == "tensorrt"] == [
        False, False, True, False, True,
    ]  # fmt: skip
