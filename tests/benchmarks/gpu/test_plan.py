"""The plan and its clock: order of worth, what depends on what, and what fits."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.gpu.budget import Budget
from benchmarks.gpu.plan import KINDS, make_plan
from tests.benchmarks.gpu.bundles import bundle_in

VERSIONS = {"tensorrt": "8.6.0", "tensorrt-rtx": "1.7.1"}


def test_the_first_model_is_through_before_the_second_begins(tmp_path: Path) -> None:
    bundle = bundle_in(tmp_path, models=("one", "two"), precisions=("fp32", "fp16"))
    plan = make_plan(bundle, {"tensorrt": "8.6.0"}, "GPU")
    assert [step.key for step in plan if not step.key.startswith("machine/")] == [
        "build/one/fp16/tensorrt",
        "parity/one/fp16/tensorrt",
        "device-path/tensorrt",
        "build/one/fp32/tensorrt",
        "parity/one/fp32/tensorrt",
        "latency/one/tensorrt",
        "accuracy/one/fp16/tensorrt",
        "accuracy/one/fp32/tensorrt",
        "build/two/fp16/tensorrt",
        "parity/two/fp16/tensorrt",
        "build/two/fp32/tensorrt",
        "parity/two/fp32/tensorrt",
        "latency/two/tensorrt",
        "accuracy/two/fp16/tensorrt",
        "accuracy/two/fp32/tensorrt",
    ]
    assert plan[0].key.startswith("machine/python-")


def test_every_step_can_be_done_when_its_turn_comes(tmp_path: Path) -> None:
    bundle = bundle_in(tmp_path, models=("one", "two"), precisions=("fp32", "fp16"))
    seen: set[str] = set()
    engines = set()
    for step in make_plan(bundle, VERSIONS, "GPU"):
        assert set(step.needs) <= seen
        assert step.key not in seen
        assert step.kind in KINDS
        assert step.guess > 0
        seen.add(step.key)
        if step.makes is not None:
            engines.add(str(step.makes))
        elif step.task.get("engine"):
            assert step.task["engine"] in engines
        assert set(dict(step.task.get("engines", {})).values()) <= engines
    assert len(engines) == 2 * 2 * 2


def test_a_result_depends_on_what_it_was_measured_with(tmp_path: Path) -> None:
    bundle = bundle_in(tmp_path, models=("one",))

    def inputs(gpu: str = "GPU", version: str = "8.6.0", **settings: bool) -> list[object]:
        plan = make_plan(bundle, {"tensorrt": version}, gpu, settings=settings)
        return [step.inputs for step in plan]

    assert inputs() == inputs()
    for other in (inputs(gpu="other"), inputs(version="10.3.0"), inputs(tf32=True)):
        assert all(a != b for a, b in zip(inputs()[1:], other[1:], strict=True))


def test_without_a_product_torch_and_onnxruntime_are_still_timed(tmp_path: Path) -> None:
    plan = make_plan(bundle_in(tmp_path), {}, "GPU")
    assert [step.kind for step in plan] == ["machine", "latency"]


def test_some_models_only(tmp_path: Path) -> None:
    bundle = bundle_in(tmp_path, models=("one", "two"))
    plan = make_plan(bundle, VERSIONS, "GPU", models=("two",))
    assert not any("one" in step.key for step in plan)
    assert "device-path/tensorrt" in [step.key for step in plan]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_does_not_fit_may_not_begin() -> None:
    clock = Clock()
    budget = Budget(60, clock)
    assert budget.left == 60
    assert budget.allows(48)
    clock.now += 20
    assert budget.left == 40
    assert budget.allows(40)
    assert not budget.allows(41)
    clock.now += 100
    assert budget.left == 0
    assert not budget.allows(0)


def test_what_never_fits_may_take_all_the_time_once() -> None:
    clock = Clock()
    budget = Budget(60, clock)
    assert budget.allows(1000)
    clock.now += 13
    assert not budget.allows(1000)


def test_guesses_are_corrected_by_their_kind() -> None:
    budget = Budget(600, Clock())
    assert budget.expected("build", 50) == 50
    budget.took("build", 50, 150)
    assert budget.expected("build", 20) == pytest.approx(60)
    assert budget.expected("parity", 20) == 20
