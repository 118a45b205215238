"""How far two artefacts' poses are apart, where the answer is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepose.bench.accuracy import Evaluation, Measured, accuracy_sections
from edgepose.bench.parity import parity_section
from edgepose.errors import DatasetError
from edgepose.evaluate import MPII_JOINTS, CocoTask, MpiiPoses, PckhTask, Predicted
from edgepose.images import read_image
from edgepose.spec import COCO_KEYPOINTS, KeypointSet, PoseSpec, Provenance
from tests.evaluate.folders import mpii_person, person, write_folder, write_mpii
from tests.fakes import heatmap_spec

# 785 and 2261 are hold-out photos, 139 is not.
PHOTOS = {139: "000000000139.png", 785: "000000000785.png", 2261: "000000002261.png"}
BOTH = (False, True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    people = [
        person(10, 785, (100, 20, 50, 120)),
        person(20, 139, (10, 10, 60, 100)),
        person(30, 2261, (10, 30, 70, 90)),
        person(40, 785, (20, 40, 70, 60)),
    ]
    return write_folder(tmp_path / "coco", people, PHOTOS)


def measured(
    evaluation: Evaluation,
    spec: PoseSpec,
    moved: np.ndarray | float = 0.0,
    scores: np.ndarray | float = 0.8,
) -> Measured:
    """Perfect poses, moved by so many pixels of the photo; (N, K) or less."""
    task = evaluation.task(spec)
    points = task.annotated(len(spec.keypoints))[..., :2].astype(np.float32)
    points[..., 0] += moved
    confident = np.broadcast_to(np.float32(scores), points.shape[:2])
    found = tuple(Predicted(task.people, flip, points, confident) for flip in evaluation.flips)
    return Measured(spec, task, found, 1.0)


def test_the_same_poses(folder: Path, tmp_path: Path) -> None:
    evaluation = Evaluation(coco=str(folder), flips=BOTH)
    one = measured(evaluation, heatmap_spec())
    steps: list[tuple[int, int]] = []
    section = parity_section(
        "ref",
        one,
        one,
        pictures=tmp_path / "p",
        draws=20,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert json.loads(json.dumps(section)) == section
    assert section["reference"] == "ref"
    assert [row["flip"] for row in section["by_protocol"]] == [False, True]
    assert steps == [(1, 2), (2, 2)]
    row = section["by_protocol"][0]
    assert row["ap_difference"] == {
        "value": 0,
        "interval_95": [0, 0],
        "draws": 20,
        "seed": 0,
    }
    assert row["shift_px"]["max"] == row["shift_px"]["share_over_1px_input"] == 0
    assert row["oks_between"] == {"mean": 1, "p1": 1, "min": 1}
    assert section["worst"] == []
    assert not (tmp_path / "p").exists()


def test_shifts_are_what_was_shifted(folder: Path) -> None:
    """By photo id the people are: 139, 785 (two), 2261."""
    evaluation = Evaluation(coco=str(folder))
    moved = np.zeros((4, 17))
    moved[:, 9] = 2.0  # left_wrist
    moved[1, 0] = 40.0  # the nose of one
    moved[2, :] = 0.5
    section = parity_section(
        "ref",
        measured(evaluation, heatmap_spec()),
        measured(evaluation, heatmap_spec(), moved),
        draws=20,
    )
    shift = section["by_protocol"][0]["shift_px"]
    every = np.sort(np.abs(moved).ravel())
    assert shift["median"] == 0
    assert shift["max"] == 40
    assert shift["p99"] == pytest.approx(np.percentile(every, 99), abs=1e-3)
    by_joint = {row["joint"]: row for row in shift["per_joint"]}
    assert list(by_joint) == list(COCO_KEYPOINTS.names)
    assert by_joint["left_wrist"]["median"] == pytest.approx(2)
    assert by_joint["nose"]["median"] == pytest.approx(0.25)
    assert by_joint["left_eye"] == {"joint": "left_eye", "median": 0, "p95": pytest.approx(0.425)}
    # 48 px of the crop show 94, 113 and 88 px of the photos: the nose, and two wrists of three.
    assert shift["share_over_1px_input"] == pytest.approx(3 / 68, abs=1e-5)
    assert shift["counted"] == "68 of 68 joints, those that the reference scores above 0.2"
    worst, *others = section["worst"]
    assert len(others) == 2  # the two wrists
    assert worst["image"] == PHOTOS[785]
    assert (worst["person"], worst["shift_px"], worst["picture"]) == (0, 40, None)
    least = section["by_protocol"][0]["oks_between"]["min"]
    assert worst["oks"] == least == pytest.approx(16 / 17, abs=0.01)  # all but the nose


def test_ap_difference_is_that_of_the_sections(folder: Path) -> None:
    evaluation = Evaluation(coco=str(folder))
    good = measured(evaluation, heatmap_spec())
    bad = measured(evaluation, heatmap_spec(), np.array([[0], [9.0], [0], [30.0]]))
    section = parity_section("ref", good, bad, draws=50)
    (row,) = section["by_protocol"]
    ap = [accuracy_sections(side)[0]["metrics"]["ap"] for side in (good, bad)]
    assert row["ap_difference"]["value"] == pytest.approx(ap[1] - ap[0], abs=1e-3)
    low, high = row["ap_difference"]["interval_95"]
    assert low <= row["ap_difference"]["value"] <= high <= 0


def test_where_the_reference_is_not_sure_nothing_counts(folder: Path) -> None:
    evaluation = Evaluation(coco=str(folder))
    scores = np.full((4, 17), 0.8)
    scores[:, 5:] = 0.1
    scores[3] = 0.1
    moved = np.zeros((4, 17))
    moved[:, 5:] = 50
    moved[3] = 50
    one = measured(evaluation, heatmap_spec(), scores=scores)
    section = parity_section("ref", one, measured(evaluation, heatmap_spec(), moved), draws=5)
    row = section["by_protocol"][0]
    assert row["shift_px"]["max"] == 0
    assert row["shift_px"]["counted"].startswith("15 of 68 joints, those")
    assert row["shift_px"]["per_joint"][5] == {
        "joint": "left_shoulder",
        "median": None,
        "p95": None,
    }
    assert row["oks_between"]["min"] == 1
    assert section["worst"] == []
    blind = measured(evaluation, heatmap_spec(), scores=0.1)
    nothing = parity_section("ref", blind, one, draws=5)
    assert nothing == {"unavailable": "ref scores no joint above 0.2: it found nobody"}


def test_the_worst_come_first_with_pictures(folder: Path, tmp_path: Path) -> None:
    evaluation = Evaluation(coco=str(folder), flips=BOTH)
    moved = np.array([[0.0], [10.0], [4.0], [25.0]])
    section = parity_section(
        "ref",
        measured(evaluation, heatmap_spec()),
        measured(evaluation, heatmap_spec(), moved),
        label="int8 / ours",
        pictures=tmp_path / "p",
        draws=5,
    )
    worst = section["worst"]
    assert [round(row["shift_px"]) for row in worst] == [25, 10, 4]
    assert [row["image"] for row in worst] == [PHOTOS[2261], PHOTOS[785], PHOTOS[785]]
    assert worst[0]["oks"] < worst[1]["oks"] < worst[2]["oks"]
    assert worst[1]["picture"] == "int8-ours-worst-02-000000000785-0.jpg"
    assert sorted(p.name for p in (tmp_path / "p").iterdir()) == [r["picture"] for r in worst]
    for row in worst:
        assert read_image(tmp_path / "p" / row["picture"]).shape[1] == 606


def test_only_people_that_both_looked_for(folder: Path) -> None:
    """Weights that may only be measured on the hold-out, beside others."""
    evaluation = Evaluation(coco=str(folder))
    tainted = heatmap_spec(provenance=Provenance(holdout_only=True))
    all_photos = measured(evaluation, heatmap_spec(), np.array([[80.0], [0], [0], [0]]))
    held_out = measured(evaluation, tainted)
    for one, other in ((all_photos, held_out), (held_out, all_photos)):
        (row,) = parity_section("ref", one, other, draws=5)["by_protocol"]
        assert row["persons"] == 3
        assert row["shift_px"]["max"] == 0  # who moved is not in the hold-out
        assert row["ap_difference"]["value"] == 0


def test_detected_boxes(folder: Path, tmp_path: Path) -> None:
    rows = [
        {"image_id": i, "bbox": [10, 10, 60, 100], "score": s}
        for i, s in ((139, 0.9), (785, 0.8), (785, 0.3))
    ]
    file = tmp_path / "d.json"
    file.write_text(json.dumps(rows))
    evaluation = Evaluation(coco=str(folder), detections=str(file))
    one = measured(evaluation, heatmap_spec())
    other = measured(evaluation, heatmap_spec(), np.array([[0], [30.0], [0]]))
    section = parity_section("ref", one, other, pictures=tmp_path / "p", draws=5)
    assert isinstance(one.task, CocoTask)
    assert section["by_protocol"][0]["persons"] == 3
    assert [row["person"] for row in section["worst"]] == [0]
    assert (tmp_path / "p" / section["worst"][0]["picture"]).is_file()


def mpii(tmp_path: Path) -> Evaluation:
    people = [mpii_person("a.jpg", (51, 61), 0.4), mpii_person("b.jpg", (101, 81), 0.5)]
    return Evaluation(mpii=str(write_mpii(tmp_path / "m", people)))


def test_pckh_and_models_with_other_joints(tmp_path: Path) -> None:
    evaluation = mpii(tmp_path)
    ours = KeypointSet(
        names=MPII_JOINTS, flip_pairs=(), skeleton=((0, 1), (6, 7), (10, 11)), sigmas=(0.08,) * 16
    )
    one = measured(evaluation, heatmap_spec(keypoints=ours))
    other = measured(evaluation, heatmap_spec(), np.array([[0.0], [40.0]]))
    assert isinstance(one.task, PckhTask)
    section: dict[str, Any] = parity_section("ref", one, other, pictures=tmp_path / "p", draws=20)
    (row,) = section["by_protocol"]
    assert row["set"] == "MPII valid"
    assert row["ap_difference"] is None
    # Half of the joints left their places: 11 of the 12 that both have, one is never annotated.
    assert row["pckh_difference"]["value"] == pytest.approx(-50)
    assert len(row["shift_px"]["per_joint"]) == 12
    assert row["shift_px"]["max"] == pytest.approx(40, abs=1e-3)
    assert [r["image"] for r in section["worst"]] == ["b.jpg"]
    assert (tmp_path / "p" / section["worst"][0]["picture"]).is_file()


def test_what_cannot_be_compared(folder: Path, tmp_path: Path) -> None:
    one = measured(Evaluation(coco=str(folder)), heatmap_spec())
    flipped = measured(Evaluation(coco=str(folder), flips=(True,)), heatmap_spec())
    with pytest.raises(DatasetError, match="0 protocols are the same"):
        parity_section("ref", one, flipped)
    poses = MpiiPoses.load(str(mpii(tmp_path).mpii))
    moved = replace(poses, image_ids=poses.image_ids + 139)
    task = PckhTask(moved, moved.people((64, 48)), {5: 13})
    people = replace(task.people, pictures=one.task.people.pictures)
    found = Predicted(people, False, np.zeros((2, 17, 2), np.float32), np.ones((2, 17), np.float32))
    with pytest.raises(DatasetError, match="one was measured on COCO, the other on MPII"):
        parity_section("ref", one, Measured(heatmap_spec(), task, (found,), 1.0))
