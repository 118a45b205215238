"""Going through a plan: failures, time, dependencies, and going on where an earlier run ended."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu.budget import Budget
from benchmarks.gpu.conduct import conduct, pending
from benchmarks.gpu.journal import Journal, folder_name
from benchmarks.gpu.launch import Outcome
from benchmarks.gpu.plan import Step
from benchmarks.gpu.report import rows_table, verdict
from edgepose.bench import read_record
from tests.trt.engines import GPU

VERSIONS = {"tensorrt": "8.6.0"}
ENVIRONMENT: dict[str, Any] = {
    "hardware": {
        "board": None,
        "cpu": "Quick CPU @ 3 GHz",
        "architecture": "x86_64",
        "usable_cores": 4,
    },
    "stack": {},
}


def step(key: str, **changes: Any) -> Step:
    values: dict[str, Any] = {
        "key": key,
        "kind": key.split("/")[0],
        "product": "tensorrt",
        "guess": 10.0,
        "task": {},
        "inputs": {"onnx": 1, "profile": (1, 4)},
    }
    return Step(**(values | changes))


class World:
    """A machine on which each step takes 10 seconds and does what it is told."""

    def __init__(self, folder: Path, seconds: float = 1000) -> None:
        self.folder, self.now, self.seconds = folder, 0.0, seconds
        self.does: dict[str, Callable[[], Outcome]] = {}
        self.launched: list[str] = []
        self.given: list[float] = []
        self.said: list[str] = []

    def launch(self, one: Step, seconds: float, say: Callable[[str], None]) -> Outcome:
        self.launched.append(one.key)
        self.given.append(seconds)
        self.now += 10
        does = self.does.get(one.key)
        if does is not None:
            return does()
        if one.makes is not None:
            one.makes.write_text("engine")
        return Outcome(status="done", found={"passed": True, "figure": 7}, log=["warning: hm"])

    def journal(self) -> Journal:
        return Journal(self.folder, "scripts/gpu_check run x", VERSIONS, ENVIRONMENT)

    def run(self, plan: list[Step], *, retry: bool = False) -> list[dict[str, Any]]:
        self.launched, self.given = [], []
        budget = Budget(self.seconds, lambda: self.now)
        return conduct(plan, self.journal(), budget, self.launch, self.said.append, retry=retry)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "results")


def chain(tmp_path: Path) -> list[Step]:
    """An engine, two things that need it, and one that needs nothing."""
    need = {"needs": ("build/a",)}
    return [
        step("build/a", makes=tmp_path / "a.engine"),
        step("parity/a", **need),
        step("accuracy/a", **need),
        step("device-path/b"),
    ]


def statuses(rows: list[dict[str, Any]]) -> list[str]:
    return [row["status"] for row in rows]


def test_every_row_is_in_a_record_of_its_kind(world: World, tmp_path: Path) -> None:
    rows = world.run(chain(tmp_path))
    assert statuses(rows) == ["done"] * 4
    assert rows[0]["found"] == {"figure": 7}
    assert rows[0]["passed"] is True
    assert rows[0]["log"] == ["warning: hm"]
    records = {path.name.split("_")[0]: read_record(path) for path in world.folder.iterdir()}
    assert {kind: [row["step"] for row in r.results] for kind, r in records.items()} == {
        "gpu-engines": ["build/a", "parity/a"],
        "gpu-accuracy": ["accuracy/a"],
        "gpu-device-path": ["device-path/b"],
    }
    engines = records["gpu-engines"]
    assert engines.command == "scripts/gpu_check run x"
    assert engines.runner == {"runtime": "tensorrt", "version": "8.6.0"}
    assert engines.environment == ENVIRONMENT
    assert sorted(world.folder.iterdir()) == world_paths(world, chain(tmp_path))


def world_paths(world: World, plan: list[Step]) -> list[Path]:
    journal = world.journal()
    for one in plan:
        journal.row(one)
    return journal.paths()


def test_a_step_is_written_before_the_next_begins(world: World, tmp_path: Path) -> None:
    def look() -> Outcome:
        (path,) = world.folder.iterdir()
        assert [row["step"] for row in json.loads(path.read_text())["results"]] == ["build/a"]
        raise KeyboardInterrupt

    world.does["parity/a"] = look
    with pytest.raises(KeyboardInterrupt):
        world.run(chain(tmp_path))
    del world.does["parity/a"]
    assert statuses(world.run(chain(tmp_path))) == ["done"] * 4
    assert world.launched == ["parity/a", "accuracy/a", "device-path/b"]


def test_a_failure_is_told_in_its_words_and_the_rest_goes_on(world: World, tmp_path: Path) -> None:
    words = "Error Code 2: rtsp://me:secret@host said no"
    world.does["build/a"] = lambda: Outcome(status="failed", words=words, found={"half": 1})
    rows = world.run(chain(tmp_path))
    assert statuses(rows) == ["failed", "absent", "absent", "done"]
    assert "Error Code 2" in rows[0]["words"]
    assert "secret" not in json.dumps(rows)
    assert rows[0]["found"] == {"half": 1}
    assert "it needs build/a, which is failed (Error Code 2" in rows[1]["words"]
    assert world.launched == ["build/a", "device-path/b"]
    assert verdict(rows)[0] == 1


def test_what_failed_is_tried_again_only_if_asked(world: World, tmp_path: Path) -> None:
    plan = chain(tmp_path)
    world.does["build/a"] = lambda: Outcome(status="failed", words="no")
    world.run(plan)
    del world.does["build/a"]
    world.run(plan)
    assert world.launched == []
    rows = world.run(plan, retry=True)
    assert world.launched == ["build/a", "parity/a", "accuracy/a"]
    assert statuses(rows) == ["done"] * 4


def test_what_does_not_fit_is_unfinished_and_done_the_next_time(
    world: World, tmp_path: Path
) -> None:
    world.seconds = 25
    rows = world.run(chain(tmp_path))
    assert statuses(rows) == ["done", "done", "unfinished", "unfinished"]
    assert rows[2]["words"] == "5 s were left, and it takes about 10"
    code, sentence = verdict(rows)
    assert code == 0
    assert "2 unfinished; for the rest, run the same command again" in sentence
    rows = world.run(chain(tmp_path))
    assert world.launched == ["accuracy/a", "device-path/b"]
    assert statuses(rows) == ["done"] * 4


def test_a_step_gets_the_time_that_is_left(world: World, tmp_path: Path) -> None:
    world.seconds = 100
    world.run(chain(tmp_path))
    assert world.given == [100, 90, 80, 70]


def test_what_needs_an_unfinished_step_is_unfinished_too(world: World, tmp_path: Path) -> None:
    world.does["build/a"] = lambda: Outcome(status="unfinished", words="stopped")
    rows = world.run(chain(tmp_path))
    assert statuses(rows) == ["unfinished", "unfinished", "unfinished", "done"]
    del world.does["build/a"]
    assert statuses(world.run(chain(tmp_path))) == ["done"] * 4


def test_one_of_several_needs_may_be_enough(world: World, tmp_path: Path) -> None:
    world.does["build/a"] = lambda: Outcome(status="failed", words="no")
    both = {"needs": ("build/a", "build/b"), "any_of": True}
    plan = [step("build/a"), step("build/b"), step("latency/x", product=None, **both)]
    assert statuses(world.run(plan)) == ["failed", "done", "done"]
    world.does["build/b"] = world.does["build/a"]
    other = World(tmp_path / "other")
    other.does = world.does
    assert statuses(other.run(plan)) == ["failed", "failed", "absent"]


def test_other_inputs_are_measured_again(world: World) -> None:
    world.run([step("device-path/b")])
    rows = world.run([step("device-path/b", inputs={"onnx": 2})])
    assert world.launched == ["device-path/b"]
    assert rows[0]["inputs"] == {"onnx": 2}
    world.run([step("device-path/b", inputs={"onnx": 2})])
    assert world.launched == []


def test_an_engine_that_is_gone_is_built_again_only_if_needed(world: World, tmp_path: Path) -> None:
    plan = chain(tmp_path)
    world.run(plan)
    (tmp_path / "a.engine").unlink()
    world.run(plan)
    assert world.launched == []
    plan.append(step("parity/b", needs=("build/a",)))
    assert [one.key for one in pending(plan, world.journal())] == ["build/a", "parity/b"]
    world.run(plan)
    assert world.launched == ["build/a", "parity/b"]


def test_rows_of_other_runs_stay(world: World, tmp_path: Path) -> None:
    world.run([step("build/a")])
    world.run([step("build/b")])
    (path,) = world.folder.iterdir()
    assert [row["step"] for row in read_record(path).results] == ["build/a", "build/b"]


def test_a_verdict_that_is_no_comes_before_a_failure(world: World) -> None:
    world.does["build/a"] = lambda: Outcome(status="failed", words="no")
    world.does["parity/b"] = lambda: Outcome(status="done", found={"passed": False})
    rows = world.run([step("build/a"), step("parity/b"), step("device-path/c")])
    code, sentence = verdict(rows)
    assert code == 3
    assert sentence == "3 steps: 2 done, 1 failed; NOT passed: parity/b"
    assert rows_table(rows).row_count == 3


def test_records_lie_under_the_gpu_and_the_machine() -> None:
    assert folder_name(ENVIRONMENT, GPU) == "fake-gpu-quick-4cores"
    board = {"hardware": ENVIRONMENT["hardware"] | {"board": "NVIDIA Jetson Orin Nano"}}
    assert folder_name(board, GPU) == "nvidia-jetson-orin-nano-4cores"
    assert folder_name(ENVIRONMENT, None) == "quick-4cores"
