"""Boxes of a detector: reading them, and the protocol that goes with them."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from edgepose.errors import DatasetError
from edgepose.estimator import Estimator
from edgepose.evaluate import CocoKeypoints, Predicted, coco_task, load_detections, predict
from edgepose.spec import Provenance
from tests.evaluate.folders import oracle, person, write_folder
from tests.evaluate.test_nms import kept_by_hand
from tests.fakes import heatmap_spec

# 785 and 2261 are hold-out photos, 139 is not; in 7 nobody is annotated.
PHOTOS = {
    7: "000000000007.png",
    139: "000000000139.png",
    785: "000000000785.png",
    2261: "000000002261.png",
}


def people() -> list[dict[str, Any]]:
    return [
        person(10, 785, (100, 20, 50, 120)),
        person(20, 139, (10, 10, 60, 100)),
        person(30, 2261, (10, 30, 70, 90)),
        person(40, 785, (20, 40, 70, 60)),
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "coco", people(), PHOTOS)


def detected(annotation: dict[str, Any], score: float, **changes: Any) -> dict[str, Any]:
    row = {key: annotation[key] for key in ("image_id", "bbox")}
    return row | {"category_id": 1, "score": score} | changes


def write(path: Path, rows: Any) -> Path:
    path.write_text(json.dumps(rows))
    return path


def test_a_perfect_detector_and_model(folder: Path, tmp_path: Path) -> None:
    rows = [detected(p, 0.9) for p in people()]
    rows.append(detected(people()[0], 0.3))  # a double, which NMS takes away
    rows.append(detected(people()[0], 0.9, category_id=18))  # a dog
    file = write(tmp_path / "d.json", rows)
    spec = oracle(people()).spec
    task = coco_task(CocoKeypoints.load(folder), spec, file)
    (found,) = predict(Estimator(oracle(people())), task.people)
    result = task.judge(found, spec)
    assert result.metrics.ap == pytest.approx(100)
    assert len(task.ranked(found, spec).scores) == 4
    assert min(result.joint_similarity) > 0.9999
    assert result.label == "AP on val2017 (4 persons, detected boxes, flip off)"
    protocol = result.to_dict()["protocol"]
    assert protocol["boxes"] == "detections of d.json"
    assert protocol["nms"] == "OKS above 0.9"
    assert protocol["ranking"] == "box score times mean of keypoint scores above 0.2"
    assert protocol["images"] == 4  # with the one in which nobody is
    assert protocol["detections"]["boxes"] == 5


def test_boxes_where_nobody_is_cost_precision(folder: Path, tmp_path: Path) -> None:
    rows = [detected(p, 0.5) for p in people()]
    false = {"image_id": 7, "bbox": [20, 20, 60, 100], "score": 0.9}
    spec = oracle(people()).spec
    precision = []
    for extra in ([], [false]):
        task = coco_task(CocoKeypoints.load(folder), spec, write(tmp_path / "d", rows + extra))
        (found,) = predict(Estimator(oracle(people())), task.people)
        precision.append(task.judge(found, spec).metrics.ap)
    assert precision[0] == pytest.approx(100)
    assert precision[1] == pytest.approx(80)  # 4 of the 5 best ranked at any recall


def test_who_was_not_detected_is_missed(folder: Path, tmp_path: Path) -> None:
    rows = [detected(p, 0.5) for p in people()[1:]]
    spec = oracle(people()).spec
    task = coco_task(CocoKeypoints.load(folder), spec, write(tmp_path / "d", rows))
    (found,) = predict(Estimator(oracle(people())), task.people)
    result = task.judge(found, spec)
    assert result.metrics.ar == pytest.approx(75)
    assert result.persons == 4
    # The other person's joints in the same photo are the nearest there are.
    assert all(0.7499 < value < 0.999 for value in result.joint_similarity)


def test_all_of_it_by_hand(shared: Path, tmp_path: Path) -> None:
    """Rescoring, NMS and metrics on real annotations, against loops and bare pycocotools."""
    root = shared / "data" / "coco"
    dataset = CocoKeypoints.load(root)
    truth, rng = dataset.truth, np.random.default_rng(4)
    rows = np.flatnonzero(truth.scored).repeat(2)
    corners = truth.boxes[rows] + rng.normal(0, 3, (len(rows), 4))
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
    boxes[:, 2:] = boxes[:, 2:].clip(2)
    file = write(
        tmp_path / "d.json",
        [
            {"image_id": int(i), "category_id": 1, "bbox": b.tolist(), "score": float(s)}
            for i, b, s in zip(
                truth.image_ids[rows], boxes, rng.uniform(-0.1, 1, len(rows)), strict=True
            )
        ],
    )
    spec = heatmap_spec((64, 48))
    task = coco_task(dataset, spec, file)
    assert (task.people.box_scores >= 0).all()
    assert 0 < len(task.people) < len(rows)
    # Which annotated person a box was made from: the photo's second, first, ... by its number.
    made_from = np.empty(len(task.people), int)
    for image in np.unique(task.people.image_ids):
        here = task.people.image_ids == image
        made_from[here] = rows[truth.image_ids[rows] == image][task.people.numbers[here]]
    spread = 0.03 * np.sqrt(truth.areas[made_from])[:, None, None]
    points = truth.keypoints[made_from, :, :2] + rng.normal(0, 1, (len(made_from), 17, 2)) * spread
    scores = rng.uniform(0, 1, (len(made_from), 17)).astype(np.float32)
    scores[5] = 0.1  # nobody is sure of anything
    found = Predicted(task.people, False, points.astype(np.float32), scores)
    metrics = task.judge(found, spec).metrics

    results: list[dict[str, Any]] = []
    for image in np.unique(task.people.image_ids):
        here = np.flatnonzero(task.people.image_ids == image)
        ranks, areas = [], []
        for row in here:
            sure = [float(s) for s in scores[row] if s > 0.2]
            mean = sum(sure) / len(sure) if sure else 0.0
            ranks.append(task.people.box_scores[row] * mean)
            w, h = (task.people.boxes[row, 2:] - task.people.boxes[row, :2]).astype(float)
            wide = max(w, h * 48 / 64) * 1.25
            areas.append(wide * wide * 64 / 48)
        kept = kept_by_hand(
            found.keypoints[here].astype(float), np.array(ranks), np.array(areas), 0.9
        )
        for place in sorted(kept):
            flat = np.concatenate([found.keypoints[here[place]], np.ones((17, 1))], 1).ravel()
            results.append(
                {
                    "image_id": int(image),
                    "category_id": 1,
                    "keypoints": flat.tolist(),
                    "score": ranks[place],
                }
            )
    assert len(results) < len(task.people)
    assert list(asdict(metrics).values()) == by_hand(root, results)  # to the last digit
    assert 20 < metrics.ap < 95


def by_hand(root: Path, results: list[dict[str, Any]]) -> list[float]:
    """The ten figures as everybody computes them: the official files, the official calls."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(root / "annotations" / "person_keypoints_val2017.json"))
        evaluator = COCOeval(truth, truth.loadRes(results), "keypoints")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return [float(v) * 100 for v in evaluator.stats]


def test_foreign_image_ids_are_named(folder: Path, tmp_path: Path) -> None:
    rows = [detected(people()[0], 0.9), detected(people()[0], 0.9, image_id=123456)]
    file = write(tmp_path / "other.json", rows)
    with pytest.raises(DatasetError, match=r"(?s)other\.json is not of the photos.*123456.*139"):
        coco_task(CocoKeypoints.load(folder), heatmap_spec(), file)


def test_the_holdout_rule_holds_for_detections(folder: Path, tmp_path: Path) -> None:
    tainted = heatmap_spec(provenance=Provenance(holdout_only=True))
    file = write(tmp_path / "d.json", [detected(p, 0.9) for p in people()])
    task = coco_task(CocoKeypoints.load(folder), tainted, file)
    assert set(task.people.image_ids) == {785, 2261}
    assert task.note is not None
    assert "2 of 3 photos" in task.note
    assert task.name == "the edgepose hold-out"


def test_a_part_of_the_photos(folder: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "d.json", [detected(p, 0.9) for p in people()])
    task = coco_task(CocoKeypoints.load(folder), heatmap_spec(), file, limit=1)
    assert set(task.people.image_ids) == {139}
    assert task.name == "the first 1 photo of val2017"
    with pytest.raises(DatasetError, match=r"no box for the photos.*score of 0\.95 or more"):
        coco_task(CocoKeypoints.load(folder), heatmap_spec(), file, box_threshold=0.95)


def test_an_absent_photo_of_nobody_matters_once_a_box_is_in_it(
    folder: Path, tmp_path: Path
) -> None:
    (folder / "val2017" / PHOTOS[7]).unlink()
    dataset = CocoKeypoints.load(folder)
    rows = [detected(p, 0.9) for p in people()]
    assert len(coco_task(dataset, heatmap_spec(), write(tmp_path / "d", rows)).people) == 4
    rows.append(detected(people()[0], 0.9, image_id=7))
    with pytest.raises(DatasetError, match=r"1 of 4 photos .* are absent"):
        coco_task(dataset, heatmap_spec(), write(tmp_path / "d", rows))


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ({"annotations": []}, "it holds a dict"),
        ([], "detects no person"),
        ([{"image_id": 1, "bbox": [0, 0, 5, 5], "score": 1, "category_id": 2}], "no person"),
        ([{"image_id": 1, "bbox": [0, 0, 5, 5]}], "row 0: KeyError: 'score'"),
        ([{"image_id": 1, "bbox": [0, 0, 5], "score": 1}], "row 0: ValueError"),
        ([{"image_id": "a.jpg", "bbox": [0, 0, 5, 5], "score": 1}], "row 0: ValueError"),
        ([[0, 0, 5, 5]], "row 0: TypeError"),
        ([{"image_id": 1, "bbox": [0, 0, float("nan"), 5], "score": 1}], "row 0 is not finite"),
        ([{"image_id": 1, "bbox": [9, 9, 9, 0], "score": 1}], "without area: width 9, height 0"),
    ],
)
def test_damaged_files(tmp_path: Path, rows: Any, match: str) -> None:
    with pytest.raises(DatasetError, match=match):
        load_detections(write(tmp_path / "d.json", rows))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot read"):
        load_detections(tmp_path / "nowhere.json")
    (tmp_path / "cut.json").write_text('[{"image_id": 1')
    with pytest.raises(DatasetError, match="it is not JSON"):
        load_detections(tmp_path / "cut.json")
