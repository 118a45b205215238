from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from edgepose.bench.cost import CONVENTION, Source, cost_section, section
from edgepose.bench.schema import record_schema
from edgepose.errors import MissingDependency
from edgepose.spec import PoseSpec
from tests.bench.cost.graphs import node, weight, write
from tests.fakes import heatmap_spec, write_tiny_onnx

MACS = 17 * 16 * 12 * 48
ROOF = {"gflops": 100.0, "how": "by hand"}


def latency(**milliseconds: float) -> dict[str, Any]:
    """Cells by ``stage_batch``."""
    cells = []
    for name, value in milliseconds.items():
        stage, _, batch = name.partition("_")
        cells.append({"stage": stage, "batch": int(batch), "milliseconds": {"p50": value}})
    return {"cells": cells}


@pytest.fixture
def tiny(tmp_path: Path) -> Source:
    return Source(write_tiny_onnx(tmp_path / "a.onnx", heatmap_spec()), "onnx", heatmap_spec())


def check_schema(made: dict[str, Any]) -> None:
    schema = record_schema()
    again = json.loads(json.dumps(made, allow_nan=False))
    jsonschema.validate(again, {"$defs": schema["$defs"], "$ref": "#/$defs/cost"})


def test_speed_is_held_against_the_roof(tiny: Source) -> None:
    made = cost_section(tiny, latency(frame_1=9.0, network_1=0.1, network_8=0.4), ROOF)
    check_schema(made)
    assert made["convention"] == CONVENTION
    assert made["gmacs"] == MACS / 1e9
    one = (
        2 * MACS / 0.1e-3 / 1e9
    )  # two operations a multiply-add; the network's time, not a frame's
    eight = 8 * 2 * MACS / 0.4e-3 / 1e9
    assert [(row["batch"], row["share"]) for row in made["achieved"]] == [
        (1, pytest.approx(one / 100, abs=1e-4)),
        (8, pytest.approx(eight / 100, abs=1e-4)),
    ]
    assert [row["gflops"] for row in made["achieved"]] == pytest.approx([one, eight], abs=0.01)
    assert made["roof"] == ROOF


@pytest.mark.parametrize("roof", [None, {"unavailable": "no probe"}])
def test_without_a_roof_there_is_no_share(tiny: Source, roof: dict[str, Any] | None) -> None:
    made = cost_section(tiny, latency(network_1=1.0), roof)
    check_schema(made)
    assert made["achieved"][0]["share"] is None
    assert made["achieved"][0]["gflops"] > 0


@pytest.mark.parametrize("times", [None, {"unavailable": "it crashed"}])
def test_without_times_nothing_is_achieved(tiny: Source, times: dict[str, Any] | None) -> None:
    made = cost_section(tiny, times, ROOF)
    check_schema(made)
    assert made["achieved"] == []


def test_a_foreign_model_is_not_checked_and_says_so(tiny: Source) -> None:
    made = cost_section(tiny)
    assert made["torch_gmacs"] is None
    assert "no model of edgepose's registry" in made["notes"][0]


def test_the_shipped_graph_beside_its_model(repo_root: Path) -> None:
    file = repo_root / "models/mitpose-lite/mitpose-lite-128x96.onnx"
    made = cost_section(Source(file, "onnx"))
    check_schema(made)
    assert made["torch_gmacs"] == pytest.approx(0.374, abs=5e-4)
    assert made["gmacs"] == pytest.approx(0.3787, abs=5e-5)
    assert (made["counted_on"], made["uncounted"]) == ("onnx", [])
    assert any("norms folded" in note for note in made["notes"])
    assert sum(layer["macs"] for layer in made["layers"]) == round(made["gmacs"] * 1e9)
    assert sum(layer["params"] for layer in made["layers"]) == made["params"]
    assert all(layer["module"] for layer in made["layers"])


def test_a_model_in_pytorch_is_counted_at_the_size_in_force() -> None:
    spec = heatmap_spec((128, 96), model="mitpose-lite")
    made = cost_section(Source("mitpose-lite", "torch", spec))
    check_schema(made)
    assert made["gmacs"] == made["torch_gmacs"] == pytest.approx(0.374, abs=5e-4)
    assert (made["counted_on"], made["params"]) == ("torch", 5_589_041)
    named = cost_section(Source("mitpose-lite@128x96", "torch"))
    assert named["gmacs"] == made["gmacs"]


def test_a_total_that_is_too_low_shouts(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.onnx",
        [node("Mystery", ["x"], ["a"], domain="acme"), node("MatMul", ["x", "w"], ["y"]),
         node("Concat", ["a", "y"], ["z"], axis=1)],
        {"w": weight(4, 4)},
        inputs={"x": ["n", 4]},
        outputs=["z"],
        domains=["acme"],
    )  # fmt: skip
    made = cost_section(Source(file, "onnx"), latency(network_1=1.0), ROOF)
    check_schema(made)
    assert [entry["name"] for entry in made["uncounted"]] == ["Mystery_0"]
    assert made["achieved"] == []
    assert made["notes"][0].startswith("The count is TOO LOW: one node is not in it, Mystery 'My")
    assert made["activation_peak_bytes"] is None
    assert "unknown" in made["activation_peak_means"]


def test_what_cannot_be_counted_is_unavailable_with_its_reason(tmp_path: Path) -> None:
    made = cost_section(Source(tmp_path / "none.onnx", "onnx"))
    check = made["unavailable"]
    assert "there is no file" in check
    assert set(made) == {"unavailable"}


def test_other_keypoints_and_a_missing_torch_are_told(
    repo_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = repo_root / "models/mitpose-lite/mitpose-lite-128x96.onnx"

    def absent(name: str) -> None:
        raise MissingDependency("this needs the package 'torch'")

    monkeypatch.setattr(section, "torch_cost", absent)
    made = cost_section(Source(file, "onnx"))
    assert made["torch_gmacs"] is None
    assert any("package 'torch'" in note for note in made["notes"])
    spec = heatmap_spec((128, 96), model="mitpose-lite")
    fewer = PoseSpec.from_dict(spec.to_dict() | {"keypoints": one_keypoint()})
    made = cost_section(Source(file, "onnx", fewer))
    assert any("for 17 keypoints, not for 1" in note for note in made["notes"])


def one_keypoint() -> dict[str, Any]:
    return {"names": ["nose"], "flip_pairs": [], "skeleton": [], "sigmas": [0.1]}
