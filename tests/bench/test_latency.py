from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgepose.bench import Schedule, measure_latency
from edgepose.bench.worker import Opened
from edgepose.errors import DeviceError, GraphError
from tests.bench.workers import FakeWorker, opened

SCHEDULE = Schedule(rounds=6, calls=2, pause_s=0.0)


def steady(scale: float) -> FakeWorker:
    return FakeWorker(lambda stage, batch: scale * batch * (2 if stage == "frame" else 1))


def test_sections_hold_every_stage_batch_and_sample(repo_root: Path) -> None:
    workers = {"one": steady(10), "two": steady(5)}
    steps: list[tuple[int, int]] = []
    run = measure_latency(workers, (1, 3), SCHEDULE, lambda *step: steps.append(step))
    assert not run.failures
    assert not run.interrupted
    one, two = run.sections["one"], run.sections["two"]
    assert [(c["stage"], c["batch"]) for c in one["cells"]] == [
        ("network", 1),
        ("frame", 1),
        ("network", 3),
        ("frame", 3),
    ]
    for cell in two["cells"]:
        expected = 5 * cell["batch"] * (2 if cell["stage"] == "frame" else 1)
        assert cell["samples_ms"] == [[expected] * 2] * 6
        assert cell["milliseconds"]["p50"] == cell["milliseconds"]["max"] == expected
        assert cell["persons_per_second"] == pytest.approx(1000 * cell["batch"] / expected)
        assert (cell["warmup_calls"], cell["stable"]) == (6, True)
    assert one["against"] is None
    assert two["against"]["reference"] == "one"
    assert {(r["stage"], r["batch"]) for r in two["against"]["ratios"]} == {
        (s, b) for s in ("network", "frame") for b in (1, 3)
    }
    assert all(
        r["ratio"] == 0.5 and r["interval_95"] == [0.5, 0.5] for r in two["against"]["ratios"]
    )
    assert (two["import_ms"], two["load_ms"], two["first_ms"]) == (300, 40, 45)
    protocol = two["protocol"]
    assert protocol["together"] == ["one", "two"]
    assert protocol["scene"] == "a photo"
    assert protocol["heap"] is None
    assert set(protocol["stages"]) == {"network", "frame"}
    assert (protocol["rounds"], protocol["first_batch"]) == (6, 1)
    assert steps[-1] == (8 + 6 * 8, 8 + 6 * 8)
    assert [done for done, _ in steps] == list(range(1, 57))
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((repo_root / "edgepose" / "bench" / "record.schema.json").read_text())
    for section in run.sections.values():
        jsonschema.validate(section, {"$defs": schema["$defs"], "$ref": "#/$defs/latency"})


def test_artefacts_take_turns() -> None:
    order: list[str] = []
    workers = {
        name: FakeWorker(lambda stage, batch, name=name: order.append(name) or 1.0)
        for name in "abc"
    }
    measure_latency(workers, (1,), Schedule(rounds=8, calls=1, pause_s=0))
    visits = order[6:]  # after the warm-up
    rounds = [visits[start : start + 6] for start in range(0, 48, 6)]
    # Both stages, one after the other: what is compared is near in time.
    assert all(sorted(r[:3]) == sorted(r[3:]) == list("abc") for r in rounds)
    assert len({tuple(visit) for visit in rounds}) > 2


def test_a_batch_that_an_artefact_cannot_take_is_left_out_for_it() -> None:
    fixed = FakeWorker(lambda stage, batch: 1.0, opened(buckets=(1, 4)))
    small = FakeWorker(lambda stage, batch: 1.0, opened(max_batch=2))
    run = measure_latency({"any": steady(1), "fixed": fixed, "small": small}, (1, 8), SCHEDULE)
    assert not run.failures
    assert {cell["batch"] for cell in run.sections["any"]["cells"]} == {1, 8}
    assert {cell["batch"] for cell in run.sections["fixed"]["cells"]} == {1}
    (left,) = run.sections["fixed"]["protocol"]["left_out"]
    assert left == {"batch": 8, "why": "it takes batches of 1, 4 and no others"}
    (left,) = run.sections["small"]["protocol"]["left_out"]
    assert left["why"] == "it takes at most 2 people"
    assert {row["batch"] for row in run.sections["small"]["against"]["ratios"]} == {1}
    assert measure_latency({"small": small}, (8,), SCHEDULE).sections["small"] == {
        "unavailable": "it takes at most 2 people"
    }


def test_the_devices_own_clock_is_a_stage_where_there_is_one() -> None:
    engine = FakeWorker(lambda stage, batch: 1.0, opened(stages=("network", "device", "frame")))
    run = measure_latency({"onnx": steady(1), "engine": engine}, (1,), SCHEDULE)
    assert [c["stage"] for c in run.sections["engine"]["cells"]] == ["network", "device", "frame"]
    compared = [row["stage"] for row in run.sections["engine"]["against"]["ratios"]]
    assert compared == ["network", "frame"]


def test_who_cannot_be_opened_leaves_the_others_alone() -> None:
    class Broken(FakeWorker):
        def open(self) -> Opened:
            raise GraphError("a.onnx is corrupt", "it ends too early")

    broken = Broken(lambda stage, batch: 1.0)
    run = measure_latency({"broken": broken, "good": steady(1)}, (1,), SCHEDULE)
    assert isinstance(run.failures["broken"], GraphError)
    assert run.sections["broken"] == {"unavailable": "a.onnx is corrupt: it ends too early"}
    assert len(run.sections["good"]["cells"]) == 2
    assert run.sections["good"]["against"] == {"reference": "broken", "ratios": []}


@pytest.mark.parametrize("calls_before", [0, 5])
def test_what_fails_at_one_batch_size_is_measured_at_the_other(calls_before: int) -> None:
    """In the warm-up, or in the middle of the rounds."""
    left = iter(range(calls_before))

    def milliseconds(stage: str, batch: int) -> float:
        if batch == 8 and next(left, None) is None:
            raise DeviceError("out of GPU memory")
        return 1.0

    run = measure_latency({"a": FakeWorker(milliseconds), "b": steady(1)}, (1, 8), SCHEDULE)
    assert run.failures["a"].what == "out of GPU memory"
    section = run.sections["a"]
    assert {cell["batch"] for cell in run.sections["b"]["cells"]} == {1, 8}
    kept = {
        (c["stage"], c["batch"]): len(c["samples_ms"]) for c in section["cells"] if c["batch"] == 8
    }
    lost = {(row["stage"], row["batch"]): row for row in section["protocol"]["failed"]}
    assert set(lost) == {("network", 8), ("frame", 8)}
    # What was complete before is kept, and marked.
    assert {key: row["rounds"] for key, row in lost.items() if row["rounds"]} == kept
    assert all(row["why"] == "out of GPU memory" for row in lost.values())
    assert bool(kept) is (calls_before > 0)
    ratios = run.sections["b"]["against"]["ratios"]
    assert {row["batch"] for row in ratios if row["interval_95"]} == {1}


@pytest.mark.parametrize(("visits", "rounds"), [(0, 0), (5, 1), (11, 2)])
def test_ctrl_c_keeps_what_was_measured(visits: int, rounds: int) -> None:
    left = iter(range(4 + visits))  # four warm-ups

    def milliseconds(stage: str, batch: int) -> float:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return 2.0

    workers = {name: FakeWorker(milliseconds) for name in ("a", "b")}
    run = measure_latency(workers, (1,), SCHEDULE)
    assert run.interrupted
    assert not run.failures
    section = run.sections["b"]
    if rounds == 0:
        assert section == {"unavailable": "interrupted before the first round was complete"}
        return
    assert section["protocol"]["interrupted"]
    assert section["protocol"]["rounds"] == rounds
    assert all(len(cell["samples_ms"]) == rounds for cell in section["cells"])
    assert len(section["against"]["ratios"]) == (2 if rounds > 1 else 0)
    assert all(row["interval_95"] is None for row in section["against"]["ratios"])


def test_ctrl_c_while_opening_is_no_error_either() -> None:
    class Slow(FakeWorker):
        def open(self) -> Opened:
            raise KeyboardInterrupt

    run = measure_latency({"a": Slow(lambda stage, batch: 1.0)}, (1,), SCHEDULE)
    assert run.interrupted
    assert "interrupted" in run.sections["a"]["unavailable"]


def test_rounds_before_a_failure_are_paired_with_those_of_the_reference(repo_root: Path) -> None:
    left = iter(range(2 + 2 * 8))

    def milliseconds(stage: str, batch: int) -> float:
        if next(left, None) is None:
            raise DeviceError("lost", "the device fell off the bus")
        return 3.0

    workers = {"sound": steady(1), "dying": FakeWorker(milliseconds)}
    run = measure_latency(workers, (1,), Schedule(rounds=10, calls=2, pause_s=0.0))
    section = run.sections["dying"]
    assert run.sections["sound"]["protocol"]["failed"] == []
    assert {row["why"] for row in section["protocol"]["failed"]} == {
        "lost: the device fell off the bus"
    }
    for cell in section["cells"]:
        assert 7 <= len(cell["samples_ms"]) <= 8
    ratios = {row["stage"]: row for row in section["against"]["ratios"]}
    assert ratios["network"]["ratio"] == 3
    assert ratios["frame"]["interval_95"] == [1.5, 1.5]
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((repo_root / "edgepose" / "bench" / "record.schema.json").read_text())
    jsonschema.validate(section, {"$defs": schema["$defs"], "$ref": "#/$defs/latency"})


class Moody(FakeWorker):
    """A quarter faster in every second process."""

    def __init__(self) -> None:
        super().__init__(lambda stage, batch: 10 if self.restarts % 2 == 0 else 7.5)


def test_rounds_are_spread_over_processes() -> None:
    workers = {"one": steady(10), "two": Moody()}
    steps: list[tuple[int, int]] = []
    schedule = Schedule(rounds=8, calls=1, pause_s=0.0)
    run = measure_latency(workers, (1,), schedule, lambda *step: steps.append(step), launches=3)
    assert [worker.restarts for worker in workers.values()] == [2, 2]
    two = run.sections["two"]
    cell = next(c for c in two["cells"] if c["stage"] == "network")
    assert [visit[0] for visit in cell["samples_ms"]] == [10] * 3 + [7.5] * 3 + [10] * 2
    assert (two["protocol"]["rounds"], two["protocol"]["launches"]) == (8, 3)
    # Warmed up in each process: 4 stages of artefacts, three times, and 8 rounds of them.
    assert steps[-1] == (3 * 4 + 8 * 4, 3 * 4 + 8 * 4)


def test_one_that_cannot_be_started_again_keeps_what_it_has() -> None:
    class Once(FakeWorker):
        def restart(self) -> None:
            raise DeviceError("no second process")

    workers = {"one": steady(10), "two": Once(lambda stage, batch: 5)}
    schedule = Schedule(rounds=12, calls=1, pause_s=0.0)
    run = measure_latency(workers, (1,), schedule, launches=2)
    assert "no second process" in str(run.failures["two"])
    two = run.sections["two"]
    assert {len(c["samples_ms"]) for c in two["cells"]} == {6}
    assert {f["why"] for f in two["protocol"]["failed"]} == {"no second process"}
    assert {r["ratio"] for r in two["against"]["ratios"]} == {0.5, 0.25}
    assert {len(c["samples_ms"]) for c in run.sections["one"]["cells"]} == {12}


def test_a_failure_in_a_later_process_is_the_last_turn() -> None:
    class Tires(FakeWorker):
        def visit(self, stage: str, batch: int, calls: int, untimed: int) -> list[float]:
            if self.restarts == 1 and stage == "frame":
                raise GraphError("tired")
            return super().visit(stage, batch, calls, untimed)

    workers = {"one": steady(10), "two": Tires(lambda stage, batch: 5)}
    schedule = Schedule(rounds=18, calls=1, pause_s=0.0)
    run = measure_latency(workers, (1,), schedule, launches=3)
    lengths = {c["stage"]: len(c["samples_ms"]) for c in run.sections["two"]["cells"]}
    assert lengths == {"network": 18, "frame": 6}
    assert "tired" in str(run.failures["two"])
