from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgepose.errors import DatasetError
from edgepose.estimator import Estimator
from edgepose.evaluate import (
    MPII_JOINTS,
    MpiiPoses,
    Predicted,
    paired_pckh_difference,
    pckh_task,
    predict,
)
from edgepose.spec import COCO_KEYPOINTS, KeypointSet, PoseSpec
from tests.evaluate.folders import mpii_person, write_mpii
from tests.fakes import FakeRunner, brightness_maps, heatmap_spec

LIMBS = 12  # shoulders, elbows, wrists, hips, knees, ankles


@pytest.fixture
def poses(tmp_path: Path) -> MpiiPoses:
    people = [
        mpii_person("b.jpg", (101, 81), 0.5),
        mpii_person("a.jpg", (51, 61), 0.4, headbox=[0, 0, 60, 80]),  # of 60 px
        mpii_person("b.jpg", (200, 90), 0.6),  # of 30 px
    ]
    return MpiiPoses.load(write_mpii(tmp_path / "m", people))


def mpii_spec() -> PoseSpec:
    names = KeypointSet(names=MPII_JOINTS, flip_pairs=(), skeleton=(), sigmas=(0.1,) * 16)
    return heatmap_spec(keypoints=names)


def found(poses: MpiiPoses, spec: PoseSpec, off: np.ndarray) -> Predicted:
    """Every joint moved to the right by ``off`` (N, 16) pixels; what MPII lacks is anywhere."""
    names = spec.keypoints.names
    points = np.full((len(poses), len(names), 2), 5.0, np.float32)
    for joint, name in enumerate(MPII_JOINTS):
        if name in names:
            points[:, names.index(name)] = poses.joints[:, joint]
            points[:, names.index(name), 0] += off[:, joint]
    people = poses.people(spec.input_size)
    return Predicted(people, False, points, np.ones(points.shape[:2], np.float32))


def test_pckh_of_known_distances(poses: MpiiPoses) -> None:
    """By hand: heads of 60, 30, 30 px; right_ankle (joint 0) is annotated nowhere."""
    off = np.zeros((3, 16))
    off[0, 1] = 29.9  # within 0.5
    off[0, 2] = 30.1  # beyond
    off[1, 3] = 15.1  # beyond: this head is smaller
    off[1, 4] = 2.9  # within 0.1
    off[2, 5] = 3.1  # within 0.5 only
    off[:, 6:8] = 500  # pelvis and thorax, which don't count
    off[:, 0] = 500  # not annotated
    spec = mpii_spec()
    result = pckh_task(poses, spec).judge(found(poses, spec, off))
    counted = 3 * 13  # 16 less pelvis and thorax, less the one never annotated
    assert result.pckh[0.5] == pytest.approx(100 * (counted - 2) / counted)
    assert result.pckh[0.1] == pytest.approx(100 * (counted - 4) / counted)
    assert result.per_joint["right_hip"] == pytest.approx(100 * 2 / 3)
    assert result.per_joint["left_hip"] == pytest.approx(100 * 2 / 3)
    assert result.per_joint["pelvis"] == 0
    assert result.per_joint["right_ankle"] is None
    assert result.label == "PCKh@0.5 on MPII valid (3 persons, flip off)"
    data = result.to_dict()
    assert set(data["metrics"]) == {"pckh@0.5", "pckh@0.1", "per_joint"}
    assert data["protocol"]["metric"] == "PCKh"
    assert "pelvis" not in data["protocol"]["joints"]


def test_a_joint_exactly_at_the_limit_is_found(poses: MpiiPoses) -> None:
    off = np.zeros((3, 16))
    off[1, 9], off[2, 9] = 15.0, 3.0  # of heads of 30 px
    spec = mpii_spec()
    whole = replace(poses, joints=np.rint(poses.joints))  # so that nothing rounds
    result = pckh_task(whole, spec).judge(found(whole, spec, off))
    assert result.pckh == {0.5: 100, 0.1: pytest.approx(100 * 38 / 39)}


def test_coco_models_are_judged_on_the_joints_both_have(poses: MpiiPoses) -> None:
    spec = heatmap_spec()
    assert spec.keypoints == COCO_KEYPOINTS
    off = np.zeros((3, 16))
    off[:, 10] = 100  # right_wrist
    result = pckh_task(poses, spec).judge(found(poses, spec, off))
    assert len(result.counted) == LIMBS
    assert result.pckh[0.5] == pytest.approx(100 * 10 / 11)  # one of the 12 is never annotated
    assert result.per_joint["right_wrist"] == 0
    assert result.label == "PCKh@0.5 on MPII valid (3 persons, 12 of 14 joints, flip off)"


def test_the_whole_way(poses: MpiiPoses) -> None:
    """The brightest spot of a grey picture is anywhere: far off, but everything runs."""
    estimator = Estimator(FakeRunner(heatmap_spec(), brightness_maps))
    task = pckh_task(poses, estimator.spec, limit=1)
    predicted = predict(estimator, task.people, flips=(False, True))
    results = [task.judge(each) for each in predicted]
    assert [r.flip for r in results] == [False, True]
    assert results[0].persons == 1
    assert results[0].name == "the first 1 photo of MPII valid"
    assert 0 <= results[0].pckh[0.1] <= results[0].pckh[0.5] < 100


def test_a_model_without_any_of_the_joints(poses: MpiiPoses) -> None:
    hand = KeypointSet(names=("thumb", "pelvis"), flip_pairs=(), skeleton=(), sigmas=(0.1, 0.1))
    with pytest.raises(DatasetError, match="none of its joints"):
        pckh_task(poses, heatmap_spec(keypoints=hand))
    blind = replace(poses, visible=np.zeros_like(poses.visible))
    with pytest.raises(DatasetError, match="annotates nobody"):
        pckh_task(blind, heatmap_spec())


def test_a_difference_by_hand() -> None:
    """A share of joints, resampled by photo: three photos, so that every draw can be counted."""
    reference = np.array([[0.1, 0.1], [0.1, np.nan], [0.1, 0.1], [0.9, 0.1]])
    contender = np.array([[0.9, 0.1], [0.1, np.nan], [0.1, 0.1], [0.1, 0.1]])
    images = np.array([4, 4, 9, 11])  # photo 4 loses one of 3 joints, photo 11 wins one of 2
    found = paired_pckh_difference(reference, contender, images, draws=4000)
    assert found.value == 0
    assert found.low == pytest.approx(-100 / 3)  # photo 4 thrice: 1 draw in 27
    assert found.high == pytest.approx(50)  # photo 11 thrice
    lost = paired_pckh_difference(reference, contender, np.array([4, 4, 4, 4]), draws=10)
    assert (lost.value, lost.low, lost.high) == (0, 0, 0)
