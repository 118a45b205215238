"""The metrics against what can be counted by hand, never against the code that computes them."""

from __future__ import annotations

import contextlib
import io
import math
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from edgepose.errors import MissingDependency
from edgepose.evaluate import CocoKeypoints, GroundTruth, Predictions, coco_metrics
from edgepose.spec import COCO_KEYPOINTS

SIGMAS = COCO_KEYPOINTS.sigmas
THRESHOLDS = [0.5 + 0.05 * i for i in range(10)]


def people(count: int, area: float = 20_000.0, images: list[int] | None = None) -> GroundTruth:
    rng = np.random.default_rng(5)
    keypoints = np.full((count, 17, 3), 2.0)
    keypoints[..., :2] = rng.uniform(0, 200, (count, 17, 2))
    return GroundTruth(
        np.asarray(images or range(1, count + 1), np.int64),
        keypoints,
        np.tile([0.0, 0.0, 200.0, 200.0], (count, 1)),
        np.full(count, area),
        np.zeros(count, bool),
    )


def shifted(truth: GroundTruth, similarity: list[float]) -> np.ndarray:
    """Every joint moved so far that its OKS term, and so the pose's OKS, is ``similarity``."""
    moved = truth.keypoints[..., :2].copy()
    for row, value in enumerate(similarity):
        for joint, sigma in enumerate(SIGMAS):
            distance = 2 * sigma * math.sqrt(truth.areas[row] * -2 * math.log(value))
            angle = joint  # any direction
            moved[row, joint] += distance * math.cos(angle), distance * math.sin(angle)
    return moved


def counted_ap(similarity: list[float], ranks: list[float]) -> tuple[float, float]:
    """AP and AR of one person an image: 101-point interpolated precision, thresholds .50 to .95.

    Exact where the number of people shares no factor with 100: then no recall falls on one of the
    101 points, where the evaluator's rounding would decide.
    """
    assert math.gcd(len(ranks), 100) == 1
    aps, recalls = [], []
    for threshold in THRESHOLDS:
        hits = 0
        curve = []  # (recall, precision) after each pose, best ranked first
        for place, row in enumerate(sorted(range(len(ranks)), key=lambda r: -ranks[r])):
            hits += similarity[row] >= threshold
            curve.append((hits / len(ranks), hits / (place + 1)))
        best = [
            max((p for r, p in curve if r >= point / 100 - 1e-12), default=0.0)
            for point in range(101)
        ]
        aps.append(sum(best) / 101)
        recalls.append(hits / len(ranks))
    return 100 * sum(aps) / 10, 100 * sum(recalls) / 10


def test_four_people_of_known_oks() -> None:
    """Counted on paper: 3 hits at .50-.70, 2 at .75-.80, 1 at .85-.95, hits ranked first.

    h of 4 hits fill 25 h + 1 of the 101 recall points with precision 1.
    """
    truth = people(4)
    predictions = Predictions(
        truth.image_ids, shifted(truth, [0.97, 0.83, 0.72, 0.31]), np.array([0.9, 0.8, 0.7, 0.6])
    )
    metrics = coco_metrics(truth, predictions, SIGMAS)
    assert metrics.ap == pytest.approx(100 * (5 * 76 + 2 * 51 + 3 * 26) / 1010)
    assert metrics.ap50 == pytest.approx(100 * 76 / 101)
    assert metrics.ap75 == pytest.approx(100 * 51 / 101)
    assert metrics.ar == pytest.approx(100 * (5 * 3 + 2 * 2 + 3 * 1) / 40)
    assert metrics.ar75 == pytest.approx(50)
    assert metrics.ap_large == metrics.ap  # 20,000 px is large
    assert math.isnan(metrics.ap_medium)


def test_ranking_matters_as_counted() -> None:
    """The worst pose ranked first: precision is 1/2, 2/3, 3/4 at the three hits."""
    truth = people(4)
    predictions = Predictions(
        truth.image_ids, shifted(truth, [0.99, 0.99, 0.99, 0.3]), np.array([0.5, 0.4, 0.3, 0.9])
    )
    metrics = coco_metrics(truth, predictions, SIGMAS)
    assert metrics.ap == pytest.approx(100 * 76 / 101 * 3 / 4)
    assert metrics.ar == pytest.approx(75)


def test_many_people_of_random_oks() -> None:
    rng = np.random.default_rng(11)
    similarity = rng.uniform(0.4, 0.999, 59).tolist()
    ranks = rng.permutation(59) / 59
    truth = people(59)
    metrics = coco_metrics(
        truth, Predictions(truth.image_ids, shifted(truth, similarity), ranks), SIGMAS
    )
    ap, ar = counted_ap(similarity, ranks.tolist())
    assert metrics.ap == pytest.approx(ap, abs=1e-9)
    assert metrics.ar == pytest.approx(ar, abs=1e-9)


def test_missing_people_lower_recall() -> None:
    truth = people(11)
    kept = slice(0, 7)
    metrics = coco_metrics(
        truth,
        Predictions(truth.image_ids[kept], truth.keypoints[kept, :, :2], np.linspace(1, 0.5, 7)),
        SIGMAS,
    )
    assert metrics.ar == pytest.approx(100 * 7 / 11)
    assert metrics.ap == pytest.approx(100 * 64 / 101)  # recall points 0 to .63


def test_nobody_found_is_zero_and_sizes_without_people_are_unknown() -> None:
    truth = people(3, area=5_000.0)
    nothing = Predictions(np.zeros(0, np.int64), np.zeros((0, 17, 2)), np.zeros(0))
    metrics = coco_metrics(truth, nothing, SIGMAS)
    assert (metrics.ap, metrics.ar, metrics.ap_medium) == (0, 0, 0)
    assert math.isnan(metrics.ap_large)
    assert metrics.to_dict()["ar_large"] is None
    far = Predictions(truth.image_ids, truth.keypoints[..., :2] + 1e4, np.ones(3))
    assert metrics.to_dict() == coco_metrics(truth, far, SIGMAS).to_dict()


def test_crowds_and_people_without_joints_are_never_missed() -> None:
    truth = people(4)
    truth.crowd[2] = True
    truth.keypoints[3, :, 2] = 0
    found = Predictions(truth.image_ids[:2], truth.keypoints[:2, :, :2], np.ones(2))
    assert truth.scored.tolist() == [True, True, False, False]
    assert coco_metrics(truth, found, SIGMAS).ar == pytest.approx(100)


def test_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    truth = people(2)
    coco_metrics(truth, Predictions(truth.image_ids, truth.keypoints[..., :2], np.ones(2)), SIGMAS)
    assert capsys.readouterr() == ("", "")


def test_without_pycocotools_the_pip_command_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    truth = people(2)
    given = Predictions(truth.image_ids, truth.keypoints[..., :2], np.ones(2))
    with pytest.raises(MissingDependency, match=r'pip install "edgepose\[eval\]"'):
        coco_metrics(truth, given, SIGMAS)


def test_wrong_shapes_and_numbers_are_refused() -> None:
    truth = people(2)
    with pytest.raises(ValueError, match=r"\(2, 16, 2\)|16 predicted"):
        coco_metrics(truth, Predictions(truth.image_ids, np.zeros((2, 16, 2)), np.ones(2)), SIGMAS)
    with pytest.raises(ValueError, match="not finite"):
        coco_metrics(
            truth, Predictions(truth.image_ids, np.full((2, 17, 2), np.nan), np.ones(2)), SIGMAS
        )
    with pytest.raises(ValueError, match=r"scores has shape"):
        Predictions(truth.image_ids, np.zeros((2, 17, 2)), np.ones(3))
    with pytest.raises(ValueError, match=r"GroundTruth.areas"):
        GroundTruth(truth.image_ids, truth.keypoints, truth.boxes, np.ones(1), truth.crowd)


# --- on real annotations: the 528 persons of the hold-out ---------------------------------------


@pytest.fixture(scope="module")
def holdout(shared: Path) -> GroundTruth:
    dataset = CocoKeypoints.load(shared / "data" / "coco")
    assert (dataset.persons, len(dataset.images)) == (528, 300)
    return dataset.truth


def test_ground_truth_fed_back_is_perfect(holdout: GroundTruth) -> None:
    given = Predictions(holdout.image_ids, holdout.keypoints[..., :2], np.ones(len(holdout)))
    metrics = coco_metrics(holdout, given, SIGMAS)
    assert set(metrics.to_dict().values()) == {100.0}


def test_swapped_sides_score_low(holdout: GroundTruth) -> None:
    order = list(COCO_KEYPOINTS.flip_order)
    swapped = Predictions(holdout.image_ids, holdout.keypoints[:, order, :2], np.ones(len(holdout)))
    assert coco_metrics(holdout, swapped, SIGMAS).ap < 10


def test_a_jittered_copy_scores_what_hand_calculation_says(holdout: GroundTruth) -> None:
    """One person a photo, so that AP follows from each person's own OKS by counting."""
    _, first = np.unique(holdout.image_ids, return_index=True)
    truth = holdout.take(first[:299])
    rng = np.random.default_rng(2)
    spread = 0.1 * np.sqrt(truth.areas) * rng.uniform(0, 1, len(truth))
    noise = rng.normal(0, 1, (len(truth), 17, 2)) * spread[:, None, None]
    jittered = truth.keypoints[..., :2] + noise
    similarity = []
    for row in range(len(truth)):
        terms = []
        for joint, sigma in enumerate(SIGMAS):
            if truth.keypoints[row, joint, 2] > 0:
                dx, dy = noise[row, joint]
                variance = (2 * sigma) ** 2
                terms.append(math.exp(-(dx * dx + dy * dy) / (2 * truth.areas[row] * variance)))
        similarity.append(sum(terms) / len(terms))
    ranks = rng.permutation(len(truth)) / len(truth)
    metrics = coco_metrics(truth, Predictions(truth.image_ids, jittered, ranks), SIGMAS)
    # The evaluator's terms differ from these by rounding alone; none may sit on a threshold.
    assert min(abs(s - t) for s in similarity for t in THRESHOLDS) > 1e-9
    ap, ar = counted_ap(similarity, ranks.tolist())
    assert 20 < ap < 90
    assert metrics.ap == pytest.approx(ap, abs=1e-9)
    assert metrics.ar == pytest.approx(ar, abs=1e-9)


def test_the_figures_are_those_of_bare_pycocotools_to_the_last_digit(
    holdout: GroundTruth, shared: Path
) -> None:
    """The official files through the official calls, on the same poses."""
    rng = np.random.default_rng(6)
    spread = 0.1 * np.sqrt(holdout.areas)[:, None, None]
    points = holdout.keypoints[..., :2] + rng.normal(0, 1, (len(holdout), 17, 2)) * spread
    points = points.astype(np.float32)
    scores = rng.uniform(0, 1, len(holdout)).round(2)  # with ties
    metrics = coco_metrics(holdout, Predictions(holdout.image_ids, points, scores), SIGMAS)
    results = [
        {
            "image_id": int(image),
            "category_id": 1,
            "keypoints": np.concatenate([pose, np.ones((17, 1))], 1).ravel().tolist(),
            "score": float(score),
        }
        for image, pose, score in zip(holdout.image_ids, points, scores, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        file = shared / "data" / "coco" / "annotations" / "person_keypoints_val2017.json"
        truth = COCO(str(file))
        evaluator = COCOeval(truth, truth.loadRes(results), "keypoints")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    assert list(asdict(metrics).values()) == [float(v) * 100 for v in evaluator.stats]
    assert 5 < metrics.ap < 90
