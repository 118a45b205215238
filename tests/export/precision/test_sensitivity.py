from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgepose.errors import InputError
from edgepose.evaluate import GroundTruth
from edgepose.export.precision import sensitivity
from edgepose.export.precision.calibration import Calibration, Picture
from edgepose.export.precision.int8 import Ranges
from edgepose.export.precision.sensitivity import Sensitivity, choose, measure
from edgepose.poses import Float32
from edgepose.spec import DecoderSpec, PoseSpec
from tests.export.precision.graphs import conv, graph, node

SPEC = PoseSpec(
    model="tiny",
    input_size=(64, 48),
    output="heatmap",
    decoder=DecoderSpec(name="argmax"),
    mean=(0, 0, 0),
    std=(255, 255, 255),
)
FRAGILE, STURDY = "fragile(Conv2d)/Conv_1", "sturdy(Conv2d)/Conv_2"


def net() -> onnx.ModelProto:
    """Finds a bright spot in 17 maps. One channel of 5000 beside it, read with the same weight,
    is taken away again behind the layer that its size makes fragile."""
    pool = np.full((2, 3, 4, 4), 1 / 48, np.float32)
    pool[1] = 0
    split = np.array([[1, 0], [0, 1]], np.float32).reshape(2, 2, 1, 1)
    back = np.array([[1, -1], [1, -1]], np.float32).reshape(2, 2, 1, 1)
    sharpen = np.tile(back[:1] * [[[[1]], [[0]]]], (17, 1, 1, 1)).astype(np.float32)
    return graph(
        [
            node("Conv", "images pool offset", "a", "stem(Conv2d)/Conv_0", strides=[4, 4]),
            conv("a", "b", "split", FRAGILE),
            node("Sub", "b offset3", "c", "fragile(Sub)/Sub_1"),
            conv("c", "d", "eye", STURDY),
            conv("d", "heatmaps", "sharpen", "head(Conv2d)/Conv_3"),
        ],
        {
            "pool": pool,
            "offset": np.array([0, 5000], np.float32),
            "offset3": np.array([0, 5000], np.float32).reshape(2, 1, 1),
            "split": split,
            "eye": split,
            "sharpen": sharpen,
        },
        output="heatmaps",
        shape=("batch", 3, 64, 48),
    )


def people(folder: Path, count: int = 48, annotated: bool = True) -> Calibration:
    """Crops with a spot each, where all joints of the person are."""
    random = np.random.default_rng(0)
    crops = random.integers(0, 60, (count, 64, 48, 3), dtype=np.uint8)
    spots = random.integers(8, 40, (count, 2)) // 4 * 4
    for crop, (x, y) in zip(crops, spots, strict=True):
        crop[y : y + 4, x : x + 4] = 255
    joints = np.full((count, 17, 3), 2.0)
    joints[:, :, :2] = spots[:, None] + 1.5
    boxes: Float32 = np.tile(np.array([0, 0, 48, 64], np.float32), (count, 1))
    truths = GroundTruth(
        np.arange(count),
        joints,
        boxes.astype(np.float64),
        np.full(count, 1600.0),
        np.zeros(count, np.bool_),
    )
    return Calibration(
        crops=crops,
        affines=np.tile(np.eye(3)[:2], (count, 1, 1)),
        boxes=boxes,
        pictures=tuple(Picture(folder / f"{n}.png", f"{n}.png", True) for n in range(count)),
        truths=truths if annotated else None,
        manifest={},
    )


NAIVE = Ranges(method="minmax", max_noise=math.inf)


def measured(folder: Path, **more: bool) -> Sensitivity:
    said: list[str] = []
    found = measure(net(), people(folder, **more), SPEC, ranges=NAIVE, progress=said.append)
    assert len(said) == 2 + 3  # calibrating, three blocks, the whole
    return found


def test_the_block_that_hurts_comes_first(tmp_path: Path) -> None:
    found = measured(tmp_path)
    assert found.rows[0].block == "fragile"
    assert found.fp32_ap == pytest.approx(100, abs=0.5)
    costs = {row.block: row.cost for row in found.rows}
    assert costs["fragile"].oks < 0.7
    assert costs["sturdy"].oks > 0.99
    assert (costs["fragile"].ap_drop or 0) > 50
    assert costs["sturdy"].ap_drop == pytest.approx(0, abs=0.5)
    assert found.whole.oks < 0.7
    assert (found.calibrating, found.measuring) == (24, 24)


def test_the_record_is_json(tmp_path: Path) -> None:
    record = measured(tmp_path).to_dict()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["people"] == {"calibrating": 24, "measuring": 24}
    assert record["blocks"][0]["block"] == "fragile"
    assert record["steps"] == []


def test_people_without_annotations_have_no_ap(tmp_path: Path) -> None:
    found = measured(tmp_path, annotated=False)
    assert found.fp32_ap is None
    assert found.whole.ap_drop is None
    assert found.rows[0].block == "fragile"
    with pytest.raises(InputError, match="--max-ap-drop 1 cannot be kept") as refusal:
        choose(found, 1.0)
    assert "not annotated" in str(refusal.value.why)


def test_blocks_are_left_in_float_until_the_budget_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensitivity, "_PEOPLE_FOR_AP", 20)
    found = measured(tmp_path)
    excluded = choose(found, 1.0)
    assert excluded == (FRAGILE,)
    assert [step.excluded for step in found.steps] == [(), ("fragile",)]
    assert (found.steps[0].cost.ap_drop or 0) > 50
    assert found.to_dict()["steps"][1]["excluded"] == ["fragile"]
    built = found.calibrated.build(excluded)
    assert built.quantised == ("stem(Conv2d)/Conv_0", STURDY)


def test_a_budget_that_holds_excludes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensitivity, "_PEOPLE_FOR_AP", 20)
    found = measured(tmp_path)
    assert choose(found, 100.0) == ()
    assert len(found.steps) == 1


def test_a_budget_that_never_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensitivity, "_PEOPLE_FOR_AP", 20)
    found = measured(tmp_path)
    with pytest.raises(InputError, match="cannot be kept") as refusal:
        choose(found, -200.0)
    assert "all blocks but one in float" in str(refusal.value.why)


def test_an_ap_of_few_people_tells_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be kept") as refusal:
        choose(measured(tmp_path), 1.0)
    assert "an AP of 24 people" in str(refusal.value.why)
    assert "128 people" in str(refusal.value.hint)


def test_blocks_of_ones_own(tmp_path: Path) -> None:
    found = measure(net(), people(tmp_path), SPEC, ranges=NAIVE, blocks={"all": [FRAGILE, STURDY]})
    assert [row.block for row in found.rows] == ["all"]
    with pytest.raises(InputError, match="names no operation"):
        measure(net(), people(tmp_path), SPEC, blocks={"x": ["nothing"]})


def test_measuring_does_without_what_was_calibrated_on(tmp_path: Path) -> None:
    """A calibrating half that is dark everywhere ruins the ranges; nobody looks at it again."""
    crowd = people(tmp_path)
    first, _ = crowd.halves()
    dark = {picture.path for picture in first.pictures}
    crops = crowd.crops.copy()
    for crop, picture in zip(crops, crowd.pictures, strict=True):
        if picture.path in dark:
            crop[:] = 1
    object.__setattr__(crowd, "crops", crops)
    found = measure(net(), crowd, SPEC, ranges=NAIVE, blocks={"stem": ["stem(Conv2d)/Conv_0"]})
    assert found.fp32_ap == pytest.approx(100, abs=0.5)
    assert found.rows[0].cost.oks < 0.9
