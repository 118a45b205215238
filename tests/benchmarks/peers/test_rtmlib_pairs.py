"""The script against a stand-in for rtmlib, which need not be installed here."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from benchmarks.peers import rtmlib_pairs, ultralytics_pairs
from edgepose.bench import read_record
from edgepose.estimator import Estimator
from edgepose.runtime.onnxruntime import OnnxRunner
from tests.fakes import heatmap_spec, write_tiny_onnx

NAME = "mitpose-lite@128x96"


class Model:
    """Finds what edgepose finds, reading the outputs as rtmlib does, ``astray`` pixels aside."""

    astray = 0.0
    as_rtmlib_reads: Any = None

    def __init__(self, path: str, model_input_size: tuple[int, int], backend: str) -> None:
        sys.stdout.write(f"load {path} with {backend} backend\n")
        assert (model_input_size, backend) == ((48, 64), "onnxruntime")
        self.runner = OnnxRunner(path)
        self.runner.spec = type(self).as_rtmlib_reads(self.runner.spec)
        self.session: Any = None

    def __call__(self, image: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert self.session.get_inputs()[0].name == "images"
        poses = Estimator(self.runner)(image[..., ::-1], boxes)
        return poses.keypoints + self.astray, poses.scores


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    module = rtmlib_pairs
    stand_in = ModuleType("rtmlib")
    model = type("ViTPose", (Model,), {"as_rtmlib_reads": staticmethod(module.as_rtmlib_reads)})
    stand_in.RTMPose, stand_in.ViTPose = type("RTMPose", (model,), {}), model  # type: ignore[attr-defined]
    stand_in.__spec__ = importlib_spec()
    monkeypatch.setitem(sys.modules, "rtmlib", stand_in)
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.0.16")
    write_tiny_onnx(tmp_path / f"{NAME}.onnx", heatmap_spec())
    return module


def importlib_spec() -> Any:
    from importlib.machinery import ModuleSpec

    return ModuleSpec("rtmlib", None)


def run(
    script: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    times_as_fast: float,
    few: float = 1.0,
) -> int:
    def measured(pipelines: Any, scene: Any, counts: Any, schedule: Any, progress: Any) -> Any:
        assert [p.name for p in pipelines[NAME]] == ["edgepose", "rtmlib"]
        assert schedule.rounds == 5
        return {
            script.key(NAME, name, count, share): np.full(
                (5, 2), 10 * (speed if name == "rtmlib" else 1.0)
            )
            for name in ("edgepose", "rtmlib")
            for count, speed in ((1, few), (8, times_as_fast))
            for share in ("frame", "network", "rest")
        }

    monkeypatch.setattr(script, "measure_shares", measured)
    words = [str(folder), "--only", NAME, "--rounds", "5", "--threads", "1", "--json"]
    monkeypatch.setattr(sys, "argv", ["rtmlib_pairs.py", *words, "--out", str(folder / "out")])
    code: int = script.main()
    return code


def test_a_broken_promise_is_exit_code_3_and_the_record_says_which(
    script: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(script, monkeypatch, tmp_path, times_as_fast=1.2) == 0
    record = json.loads(capsys.readouterr().out)  # the load message went to stderr
    assert record["kind"] == "peers"
    assert record["runner"] == {"runtime": "rtmlib", "version": "0.0.16"}
    assert "rtmlib==0.0.16" in record["protocol"]["requirements"]
    assert record["protocol"]["agreement"][NAME]["median"] < 1e-3
    assert len(record["protocol"]["networks"][NAME]["sha256"]) == 64
    judged = {row["pair"]: row["met"] for row in record["results"] if row["limit"] is not None}
    assert judged == {
        f"{NAME} x1: frame, edgepose / rtmlib": True,
        f"{NAME} x8: frame, edgepose / rtmlib": True,
    }
    (path,) = (tmp_path / "out").glob("*/peers_*_rtmlib-0.0.16.json")
    assert read_record(path).to_dict() == record
    assert record["command"].startswith(
        f"python benchmarks/peers/run.py rtmlib -- --only {NAME} --rounds 5 --threads 1 --json"
    )
    assert run(script, monkeypatch, tmp_path, times_as_fast=1.05) == 3
    assert run(script, monkeypatch, tmp_path, times_as_fast=1.2, few=0.9) == 3
    capsys.readouterr()


def test_other_keypoints_are_exit_code_3(
    script: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Model, "astray", 30.0)
    assert run(script, monkeypatch, tmp_path, times_as_fast=1.2) == 3
    figures = json.loads(capsys.readouterr().out)["protocol"]["agreement"][NAME]
    assert figures["median"] > figures["limit"] == 1.5


def test_one_box_is_judged_by_the_interval() -> None:
    level = np.full((6, 2), 10.0)

    def met(ours: np.ndarray) -> bool:
        samples = {
            rtmlib_pairs.key(NAME, name, count, share): (ours if name == "edgepose" else level)
            for name in ("edgepose", "rtmlib")
            for count in (1, 8)
            for share in ("frame", "network", "rest")
        }
        (row,) = [r for r in rtmlib_pairs.judged(NAME, samples) if r["limit"] == 1.0]
        return bool(row["met"])

    draw = level * np.array([0.97, 0.97, 1.02, 1.03, 1.02, 1.03])[:, None]
    assert met(draw)
    assert not met(level * 1.02)


def test_overhead_is_promised_where_the_figure_was_set() -> None:
    limits = {
        (network, pair.name): pair.limit
        for network in rtmlib_pairs.PROMISES
        for pair in rtmlib_pairs.pairs_of(network)
        if "the rest" in pair.name and pair.limit is not None
    }
    assert set(limits.values()) == {1 / 5}
    assert {network for network, _ in limits} == {"rtmpose-t", "mitpose-lite"}


@pytest.mark.parametrize("script", [rtmlib_pairs, ultralytics_pairs])
def test_without_the_peer_the_command_is_told(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from edgepose.errors import MissingDependency

    peer = script.__name__.rpartition(".")[2].removesuffix("_pairs")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["script", str(tmp_path)])
    with pytest.raises(MissingDependency, match=rf"run\.py {peer}"):
        script.main()
