"""A whole measurement over real processes and tiny graphs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgepose.bench import session
from edgepose.bench.folder import OutFolder
from edgepose.bench.plan import Artefact, Plan
from edgepose.bench.session import Outcome, measure_plan
from edgepose.bench.worker import Request
from edgepose.bench.worker.heap import kept_heap_words
from edgepose.errors import DatasetError
from tests.evaluate.folders import person, write_folder
from tests.fakes import heatmap_spec, write_tiny_onnx


class Told:
    """Talk that remembers; Ctrl-C where a step of that name begins."""

    def __init__(self, interrupt_at: str | None = None) -> None:
        self.steps: list[str] = []
        self.warnings: list[str] = []
        self.interrupt_at = interrupt_at

    def step(self, title: str) -> Callable[[int, int], None]:
        self.steps.append(title)
        if title == self.interrupt_at:
            raise KeyboardInterrupt
        return lambda done, total: None

    def warn(self, words: str) -> None:
        self.warnings.append(words)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_tiny_onnx(tmp_path / "tiny.onnx", heatmap_spec())


@pytest.fixture
def people(tmp_path: Path) -> Path:
    # Bright: the tiny graphs score a joint by the light on it.
    rows = [person(220, 139, (10, 10, 60, 100)), person(250, 785, (90, 20, 80, 90))]
    return write_folder(tmp_path / "coco", rows, {139: "000000000139.png", 785: "000000000785.png"})


def plan_of(*names: str | Path, **settings: Any) -> Plan:
    base: dict[str, Any] = {"rounds": 2, "batches": (1, 2), "threads": 1, "flip": "off"}
    return Plan(artefact=tuple(Artefact(use=str(name)) for name in names), **base | settings)


def measured(plan: Plan, out: Path, talk: Told | None = None) -> Outcome:
    with OutFolder(out) as folder:
        return measure_plan(plan, folder, "edgepose bench …", talk or Told())


def test_one_that_cannot_be_loaded_does_not_keep_the_others(
    tiny: Path, people: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    plan = plan_of(
        tiny,
        tmp_path / "broken.onnx",
        "nosuchmodel",
        sections=("latency", "memory", "accuracy"),
        coco=str(people),
    )
    good, broken, unknown = measured(plan, tmp_path / "out").records
    assert good.status == "complete"
    assert good.latency is not None
    assert good.latency["protocol"]["heap"] == kept_heap_words(True)
    assert {cell["batch"] for cell in good.latency["cells"]} == {1, 2}
    assert good.memory is not None
    assert good.memory["peak_bytes"] > good.memory["baseline_bytes"]
    assert isinstance(good.accuracy, list)
    assert good.accuracy[0]["protocol"]["persons"] == 2
    assert good.cost is None
    for record in (broken, unknown):
        assert record.status == "failed"
        assert record.failures[0]["section"] == "open"
        assert record.latency is None
    assert "cannot load" in broken.failures[0]["what"]
    assert "nosuchmodel" in unknown.failures[0]["what"]
    assert good.run == broken.run == unknown.run


def test_memory_is_measured_with_the_systems_heap(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[bool] = []

    class Noted(session.Worker):
        def __init__(self, request: Request) -> None:
            kept.append(request.keep_heap)
            super().__init__(request)

    monkeypatch.setattr(session, "Worker", Noted)
    (record,) = measured(plan_of(tiny, sections=("memory", "latency")), tmp_path / "out").records
    assert record.memory is not None
    assert record.latency is not None
    assert kept == [False, True]


def test_ctrl_c_keeps_what_was_measured(tiny: Path, people: Path, tmp_path: Path) -> None:
    plan = plan_of(tiny, sections=("latency", "accuracy"), coco=str(people))
    outcome = measured(plan, tmp_path / "out", Told(interrupt_at=f"{tiny}: AP"))
    (record,) = outcome.records
    assert outcome.interrupted
    assert record.status == "partial"
    assert record.latency is not None
    assert len(record.latency["cells"]) == 4
    assert record.accuracy == {"unavailable": "the run ended before it was measured"}


def test_a_bug_at_the_end_does_not_cost_the_records(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(session, "roof", bug)
    outcome = measured(plan_of(tiny, sections=("memory", "cost")), tmp_path / "out")
    (record,) = outcome.records
    assert isinstance(outcome.fault, ZeroDivisionError)
    assert not outcome.interrupted
    assert record.status == "partial"
    assert record.memory is not None


def test_data_that_is_not_there_is_told_before_anything_is_measured(
    tiny: Path, tmp_path: Path
) -> None:
    talk = Told()
    plan = plan_of(tiny, coco=str(tmp_path / "nowhere"))
    with pytest.raises(DatasetError, match="no folder"):
        measured(plan, tmp_path / "out", talk)
    assert talk.steps == []


def test_a_data_set_that_no_artefact_fits_is_told_before_the_timing(
    tiny: Path, people: Path, tmp_path: Path
) -> None:
    talk = Told()
    foreign = tmp_path / "boxes.json"
    foreign.write_text('[{"image_id": 4, "category_id": 1, "bbox": [1, 1, 9, 9], "score": 0.9}]')
    plan = plan_of(tiny, tiny.name, coco=str(people), detections=str(foreign))
    with pytest.raises(DatasetError, match="4"):
        measured(plan, tmp_path / "out", talk)
    assert "timing, in turns" not in talk.steps


def test_poses_are_held_against_the_first(tiny: Path, people: Path, tmp_path: Path) -> None:
    other = write_tiny_onnx(tmp_path / "other.onnx", heatmap_spec((96, 64)), size=(96, 64))
    plan = plan_of(tiny, other, sections=("accuracy",), coco=str(people))
    first, second = measured(plan, tmp_path / "out").records
    assert first.parity is None
    assert second.parity is not None
    assert second.parity["reference"] == str(tiny)
