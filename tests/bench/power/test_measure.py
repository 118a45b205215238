"""The energy of a frame, where the power and the rate are known."""

from __future__ import annotations

import itertools
import json
import time
from typing import Any

import pytest

from edgepose.bench.power import Found, PowerInterrupted, Sustainer, Tried, measure_power
from edgepose.bench.power import measure as measuring
from edgepose.errors import ArtefactError, DeviceError, InputError
from tests.bench.power.synthetic import Artefact, Done, SyntheticMeter

SECONDS = 0.3
QUICK: dict[str, Any] = {
    "seconds": SECONDS,
    "idle_seconds": 0.2,
    "calm_seconds": 0,
    "interval_s": 0.01,
}


def test_joules_of_a_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    artefact = Artefact(rate=200)
    meter = SyntheticMeter()

    class Board(measuring._Bench):
        def _idle(self, seconds: float) -> measuring._Idle:
            meter.watts = 4.0
            return super()._idle(seconds)

        def busy(self, worker: Sustainer, batch: int, seconds: float) -> dict[str, Any]:
            meter.watts = 14.0
            return super().busy(worker, batch, seconds)

    monkeypatch.setattr(measuring, "_Bench", Board)
    steps: list[tuple[int, int]] = []
    section = measure_power(
        {"a": artefact},
        [1, 4],
        progress=lambda *at: steps.append(at),
        found=Found((meter,), (Tried("other", "is not here"),)),
        **QUICK,
    ).sections["a"]
    assert section["meter"] == "synthetic"
    assert section["rails"] == ["whole", "half"]
    assert section["total"] == ["whole"]
    assert section["idle_watts"] == pytest.approx(4.0)
    assert section["tried"] == [{"meter": "other", "why": "is not here"}]
    assert section["left_out"] == []
    assert [row["batch"] for row in section["batches"]] == [1, 4]
    for row in section["batches"]:
        assert row["watts"] == pytest.approx(14.0)
        assert row["watts_above_idle"] == pytest.approx(10.0)
        assert row["joules_per_frame"] == pytest.approx(14 / 200, rel=0.02)  # calls are whole
        assert row["joules_per_frame_above_idle"] == pytest.approx(10 / 200, rel=0.02)
    second = section["batches"][1]
    assert second["joules_per_person"] == second["joules_per_frame"] / 4
    assert second["joules_per_person_above_idle"] == second["joules_per_frame_above_idle"] / 4
    assert second["rails"] == {"whole": pytest.approx(14.0), "half": pytest.approx(7.0)}
    assert second["seconds"] >= SECONDS
    assert second["frames"] == pytest.approx(200 * second["seconds"], rel=0.02)
    assert second["samples"] >= 5
    assert sorted(artefact.asked) == [("frame", 1, SECONDS), ("frame", 4, SECONDS)]
    assert steps == [(1, 2), (2, 2)]
    assert json.loads(json.dumps(section)) == section


def test_what_a_meter_tells_before_it_has_settled_is_left_out() -> None:
    """A slow meter shows the rest for a while after the work has begun."""
    artefact = Artefact(rate=100)
    begun: list[float] = []

    def slow() -> float:
        if not artefact.asked:
            return 0.0
        if not begun:
            begun.append(time.monotonic())
        return 10.0 if time.monotonic() - begun[0] > 0.1 else 0.0

    meter = SyntheticMeter(watts=1.0, load=slow, settle_s=0.4)
    section = measure_power({"a": artefact}, [1], found=Found((meter,), ()), **QUICK).sections["a"]
    [row] = section["batches"]
    assert row["watts"] == pytest.approx(11.0)
    assert row["joules_per_frame"] == pytest.approx(0.11, rel=0.03)
    assert artefact.asked == [("frame", 1, 0.4 + SECONDS)]
    assert row["frames"] == pytest.approx(100 * row["seconds"], rel=0.03)


def test_two_meters_add_up() -> None:
    meters = (
        SyntheticMeter(watts=30.0, unit="joules", name="RAPL", rails=("package-0", "x")),
        SyntheticMeter(watts=5.0, unit="joules", name="NVML", rails=("GPU 0", "y")),
    )
    for meter in meters:
        meter.total = meter.rails[:1]
    section = measure_power(
        {"a": Artefact(), "b": Artefact()}, [2], found=Found(meters, ()), **QUICK
    ).sections
    assert section["b"]["meter"] == "RAPL and NVML"
    assert section["b"]["total"] == ["package-0", "GPU 0"]
    assert section["a"]["idle_watts"] == pytest.approx(35.0, rel=0.05)
    [row] = section["b"]["batches"]
    assert row["watts"] == pytest.approx(35.0, rel=0.05)
    assert row["rails"]["GPU 0"] == pytest.approx(5.0, rel=0.05)
    assert row["watts_above_idle"] == row["watts"] - section["b"]["idle_watts"]


def test_nothing_to_read() -> None:
    found = Found((), (Tried("RAPL", "root alone may"), Tried("NVML", "no driver")))
    artefact = Artefact()
    run = measure_power({"a": artefact, "b": artefact}, [1], found=found)
    sections = run.sections
    assert run.failures == {}
    assert sections["a"] == sections["b"]
    assert sections["a"]["unavailable"] == (
        "power is not readable here, because no meter tells it: RAPL: root alone may; "
        "NVML: no driver"
    )
    assert sections["a"]["tried"] == [
        {"meter": "RAPL", "why": "root alone may"},
        {"meter": "NVML", "why": "no driver"},
    ]
    assert artefact.asked == []


def test_the_meters_of_this_machine_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = SyntheticMeter(watts=1.0)
    found = Found((meter,), ())
    found._closing.callback(meter.close)
    monkeypatch.setattr(measuring, "find_meters", lambda: found)
    section = measure_power({"a": Artefact()}, [1], **QUICK).sections["a"]
    assert section["batches"]
    assert meter.closed


def test_a_batch_that_one_artefact_does_not_take() -> None:
    found = Found((SyntheticMeter(watts=1.0),), ())
    run = measure_power({"a": Artefact(most=1), "b": Artefact()}, [1, 8], found=found, **QUICK)
    sections = run.sections
    assert run.failures == {}  # that it takes fewer is known, and no fault
    assert [row["batch"] for row in sections["a"]["batches"]] == [1]
    assert sections["a"]["left_out"] == [{"batch": 8, "why": "it takes fewer: 1 at most"}]
    assert [row["batch"] for row in sections["b"]["batches"]] == [1, 8]
    alone = measure_power({"a": Artefact(most=1)}, [8], found=found, **QUICK).sections["a"]
    assert alone == {"unavailable": "batch 8: it takes fewer: 1 at most", "tried": []}


def test_an_artefact_that_was_not_busy() -> None:
    class Lazy(Artefact):
        def sustain(self, stage: str, batch: int, seconds: float) -> Done:
            done = super().sustain(stage, batch, seconds)
            return Done(0, done.seconds, done.started_ns, done.ended_ns)

    found = Found((SyntheticMeter(watts=1.0),), ())
    run = measure_power({"a": Lazy()}, [1], found=found, **QUICK)
    section = run.sections["a"]
    assert list(run.failures) == ["a"]
    assert "the artefact was not busy for long enough: 0 frames in" in section["unavailable"]


def test_a_meter_that_is_silent_from_the_start() -> None:
    artefact = Artefact()
    found = Found((SyntheticMeter(watts=1.0, readings=1),), ())
    section = measure_power({"a": artefact}, [1], found=found, **QUICK).sections["a"]
    assert section["unavailable"] == "synthetic stopped: no reading: it fell silent"
    assert artefact.asked == []


def test_a_dead_artefact_is_a_failure_and_the_others_go_on() -> None:
    dead = ArtefactError("the process of dead ended when asked to sustain", "a signal")

    class Dead(Artefact):
        def sustain(self, stage: str, batch: int, seconds: float) -> Done:
            raise dead

    found = Found((SyntheticMeter(watts=1.0),), ())
    run = measure_power({"dead": Dead(), "b": Artefact()}, [1, 2], found=found, **QUICK)
    assert run.failures == {"dead": dead}
    assert run.sections["dead"]["unavailable"].startswith("batch 1: the process of dead ended")
    assert [row["batch"] for row in run.sections["b"]["batches"]] == [1, 2]


def test_a_meter_that_stops_beside_the_work_is_a_failure() -> None:
    artefact = Artefact()

    class Shy(SyntheticMeter):
        def read(self) -> dict[str, float]:
            if artefact.asked:
                raise DeviceError("no reading", "it is shy")
            return super().read()

    found = Found((Shy(watts=1.0),), ())
    run = measure_power({"a": artefact}, [1], found=found, **QUICK)
    assert run.sections["a"]["unavailable"] == "batch 1: synthetic stopped: no reading: it is shy"
    assert run.failures["a"].why == "no reading: it is shy"


def test_artefacts_and_batches_take_turns_in_an_order_that_is_drawn() -> None:
    def order(seed: int) -> list[tuple[str, int]]:
        asked: list[tuple[str, int]] = []

        class Noting(Artefact):
            def __init__(self, name: str) -> None:
                super().__init__()
                self.name = name

            def sustain(self, stage: str, batch: int, seconds: float) -> Done:
                asked.append((self.name, batch))
                raise InputError("not today")

        workers = {name: Noting(name) for name in "abc"}
        found = Found((SyntheticMeter(watts=1.0),), ())
        measure_power(workers, [1, 2, 4], found=found, seed=seed, **QUICK)
        return asked

    assert order(0) == order(0) != order(1)
    assert sorted(order(0)) == [(name, batch) for name in "abc" for batch in (1, 2, 4)]
    assert order(0) != [(name, batch) for batch in (1, 2, 4) for name in "abc"]


def test_the_idle_power_is_taken_before_and_after_and_once_it_is_steady(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It falls from 8 to 5 W at first; after the work it is 7 W."""
    artefact = Artefact()
    meter = SyntheticMeter()
    powers = iter([8.0, 6.0, 5.0, 5.1])

    class Board(measuring._Bench):
        def _idle(self, seconds: float) -> measuring._Idle:
            meter.watts = 7.0 if artefact.asked else next(powers)
            return super()._idle(seconds)

    monkeypatch.setattr(measuring, "_Bench", Board)
    quick = QUICK | {"calm_seconds": 3600}
    run = measure_power({"a": artefact}, [1], found=Found((meter,), ()), **quick)
    section = run.sections["a"]
    before, after = section["idle"]["before"], section["idle"]["after"]
    assert (before["watts"], before["steady"]) == (pytest.approx(5.1), True)
    assert (after["watts"], after["steady"]) == (pytest.approx(7.0), True)
    assert section["idle_watts"] == pytest.approx((5.1 + 7.0) / 2)
    [row] = section["batches"]
    assert row["watts_above_idle"] == pytest.approx(row["watts"] - section["idle_watts"])


def test_an_idle_power_that_never_settles_is_taken_all_the_same() -> None:
    grows = itertools.count(1)
    meter = SyntheticMeter(load=lambda: float(next(grows)) ** 2)
    quick = QUICK | {"calm_seconds": 0.5}
    run = measure_power({"a": Artefact()}, [1], found=Found((meter,), ()), **quick)
    section = run.sections["a"]
    assert section["idle"]["before"]["steady"] is False


def test_ctrl_c_keeps_what_was_measured() -> None:
    done: list[str] = []

    class Once(Artefact):
        """The second that is asked is interrupted."""

        def sustain(self, stage: str, batch: int, seconds: float) -> Done:
            if done:
                raise KeyboardInterrupt
            done.append("once")
            return super().sustain(stage, batch, seconds)

    found = Found((SyntheticMeter(watts=2.0),), ())
    workers = {"a": Once(), "b": Once()}
    with pytest.raises(KeyboardInterrupt) as caught:
        measure_power(workers, [1], found=found, **QUICK)
    assert isinstance(caught.value, PowerInterrupted)
    [first] = [name for name, artefact in workers.items() if artefact.asked]
    sections = caught.value.sections
    assert sections.pop(first)["batches"][0]["watts"] == pytest.approx(2.0)
    [other] = sections.values()
    assert other["unavailable"] == "interrupted before it was measured"
    assert caught.value.failures == {}
