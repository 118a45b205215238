"""The committed script on what measuring costs: that it would see a cost, and judges it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgepose.bench import Schedule, judge, read_record
from edgepose.bench.timing import Turn, conduct
from edgepose.bench.worker import Opened, Sustained, Warmed
from tests.bench.workers import opened
from tests.fakes import heatmap_spec, write_tiny_onnx


@pytest.fixture
def script(repo_root: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(repo_root / "benchmarks"))
    monkeypatch.delitem(sys.modules, "own_cost", raising=False)
    import own_cost

    return own_cost


class Child:
    """A process in which a loop takes 10 ms a call, and a visit ``report`` times that."""

    def __init__(self, report: float = 1.0) -> None:
        self.report = report
        self.asked: list[tuple[int, int]] = []
        self.sustained: list[float] = []

    def open(self) -> Opened:
        return opened()

    def warm(self, stage: str, batch: int, window: int, max_warmup_s: float) -> Warmed:
        return Warmed(
            calls=1, stable=True, first_ms=1, first_inference_ms=1, first_inference_batch=1
        )

    def visit(self, stage: str, batch: int, calls: int, untimed: int) -> list[float]:
        self.asked.append((calls, untimed))
        return [10.0 * self.report] * calls

    def sustain(self, stage: str, batch: int, seconds: float) -> Sustained:
        self.sustained.append(seconds)
        calls = max(1, round(seconds * 100))
        return Sustained(calls=calls, seconds=calls / 100, started_ns=0, ended_ns=0)

    def close(self) -> None:
        self.asked.append((-1, -1))

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def test_a_cost_of_the_timers_would_be_seen(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were timing a call to take half as long as the call, a visit would take that longer."""

    now = 0

    def spend(milliseconds: int) -> None:
        nonlocal now
        now += milliseconds * 10**6

    def costly(call: Callable[[], Any], calls: int, untimed: int = 0) -> list[float]:
        for _ in range(untimed):
            call()
        for _ in range(calls):
            call()
            spend(2)
        return [4.0] * calls

    turns = script.here(lambda: spend(4))
    monkeypatch.setattr(script, "time_calls", costly)
    monkeypatch.setattr(script, "time", SimpleNamespace(perf_counter_ns=lambda: now))
    conducted = conduct(turns, Schedule(rounds=5, calls=3, pause_s=0))
    rows = judge(script.questions()[:2], {str(k): v for k, v in conducted.samples.items()})
    assert rows[0]["ratio"] == pytest.approx(1.5)
    assert rows[0]["met"] is False


def test_a_bare_loop_across_the_pipe_is_as_long_as_the_last_visit(script: ModuleType) -> None:
    child = Child(report=1.02)
    report = script.ReportedAcross("r", child, 1, seconds=1.0)
    bare = script.BareAcross("b", report)
    assert bare.visit(calls=12, untimed=1) == [pytest.approx(10.0)]
    assert child.asked == [(0, 1)]
    assert child.sustained == [1.0]
    assert report.visit(12, 1) == [pytest.approx(10.2)]
    bare.visit(calls=12, untimed=1)
    assert child.sustained[1] == pytest.approx(12 * 0.0102)


def test_timing_an_empty_call_takes_less_than_a_hundredth_of_a_millisecond(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "EMPTY_CALLS", 1000)
    assert 0 <= script.empty_call_us() < 10


@pytest.mark.parametrize(("report", "code"), [(1.005, 0), (1.02, 3)])
def test_the_verdict_decides_the_exit_code_and_the_record_holds_it(
    script: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    report: float,
    code: int,
) -> None:
    children: list[Child] = []

    def start(request: Any) -> Child:
        children.append(Child(report))
        return children[-1]

    real = script.measured

    def measured(turns: Sequence[Turn], schedule: Schedule, progress: Any) -> Any:
        """Through the children as it is; in this process as on a machine without noise."""
        samples = real(turns, schedule, progress)
        if "visit" in samples:
            return {name: np.full_like(values, 10.0) for name, values in samples.items()}
        return samples

    onnx = write_tiny_onnx(tmp_path / "tiny.onnx", heatmap_spec())
    words = ["own_cost.py", str(onnx), "--rounds", "5", "--calls", "2", "--json"]
    monkeypatch.setattr(sys, "argv", [*words, "--out", str(tmp_path)])
    monkeypatch.setattr(script, "Worker", start)
    monkeypatch.setattr(script, "measured", measured)
    monkeypatch.setattr(script, "EMPTY_CALLS", 100)
    assert script.main() == code
    record = json.loads(capsys.readouterr().out)
    assert [row["ratio"] for row in record["results"]] == [1, 1, report, report]
    assert [row["met"] for row in record["results"]] == [True, True, code == 0, code == 0]
    assert record["protocol"]["round_trip_ms"] >= 0
    (path,) = tmp_path.glob("*/tiny-*_own-cost_*.json")
    assert read_record(path).to_dict() == record
    assert len(children) == 2
    assert all(child.asked[-1] == (-1, -1) for child in children)
