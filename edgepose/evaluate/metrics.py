"""The official COCO keypoint metrics from arrays, through pycocotools, without its talk."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgepose.errors import require

__all__ = ["CocoMetrics", "GroundTruth", "Predictions", "coco_metrics", "official_evaluator"]

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class GroundTruth:
    """Annotated persons of a set of images, crowds and persons without joints included.

    Attributes:
        image_ids: (N,) the image that each person is in.
        keypoints: (N, K, 3) x, y, visibility (0: not annotated).
        boxes: (N, 4) x0 y0 x1 y1.
        areas: (N,) object areas in square pixels.
        crowd: (N,) True for a region of many people; never counted as missed.
    """

    image_ids: Int64
    keypoints: Float64
    boxes: Float64
    areas: Float64
    crowd: npt.NDArray[np.bool_]

    def __post_init__(self) -> None:
        count = len(self.image_ids)
        joints = self.keypoints.shape[1] if self.keypoints.ndim == 3 else -1
        for name, expected in (
            ("keypoints", (count, joints, 3)),
            ("boxes", (count, 4)),
            ("areas", (count,)),
            ("crowd", (count,)),
        ):
            actual = getattr(self, name).shape
            if actual != expected:
                raise ValueError(f"GroundTruth.{name} has shape {actual}, expected {expected}")

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def scored(self) -> npt.NDArray[np.bool_]:
        """(N,) the persons that count: annotated joints, and no crowd."""
        counted: npt.NDArray[np.bool_] = (self.keypoints[..., 2] > 0).any(1) & ~self.crowd
        return counted

    def take(self, chosen: npt.NDArray[Any]) -> GroundTruth:
        """The persons of an index or a mask."""
        return GroundTruth(
            self.image_ids[chosen],
            self.keypoints[chosen],
            self.boxes[chosen],
            self.areas[chosen],
            self.crowd[chosen],
        )


@dataclass(frozen=True)
class Predictions:
    """Predicted poses.

    Attributes:
        image_ids: (M,) the image that each pose is in.
        keypoints: (M, K, 2) x and y in that image's pixels.
        scores: (M,) the scores that rank them, see :func:`edgepose.evaluate.oks.pose_scores`.
    """

    image_ids: Int64
    keypoints: npt.NDArray[np.floating]
    scores: npt.NDArray[np.floating]

    def __post_init__(self) -> None:
        count = len(self.image_ids)
        if self.keypoints.shape[:1] != (count,) or self.keypoints.shape[2:] != (2,):
            raise ValueError(
                f"Predictions.keypoints has shape {self.keypoints.shape}, expected ({count}, K, 2)"
            )
        if self.scores.shape != (count,):
            raise ValueError(
                f"Predictions.scores has shape {self.scores.shape}, expected ({count},)"
            )


@dataclass(frozen=True)
class CocoMetrics:
    """The ten official figures in percent; nan where no person falls in that size range.

    AP is the mean over the OKS thresholds .50, .55, ... .95; medium is an area of 32^2 to 96^2
    pixels, large is above.
    """

    ap: float
    ap50: float
    ap75: float
    ap_medium: float
    ap_large: float
    ar: float
    ar50: float
    ar75: float
    ar_medium: float
    ar_large: float

    def to_dict(self) -> dict[str, float | None]:
        """JSON-ready: nan becomes None."""
        return {
            name: None if math.isnan(value) else round(value, 4)
            for name, value in asdict(self).items()
        }


def coco_metrics(
    truth: GroundTruth, predictions: Predictions, sigmas: Sequence[float]
) -> CocoMetrics:
    """AP and AR of predictions, by the official evaluator.

    Poses with equal scores are ranked in the order of ``predictions``.

    Args:
        truth: All annotated persons of the images.
        predictions: Poses in those images.
        sigmas: K OKS sigmas of the keypoint set.

    Raises:
        MissingDependency: pycocotools is not installed.
        ValueError: The numbers of joints differ, or a prediction has no finite position.
    """
    _check(truth, predictions, sigmas)
    if not len(predictions.image_ids):
        return _nobody_found(truth)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator = official_evaluator(truth, predictions, sigmas)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    # pycocotools writes -1 where there is nothing to measure.
    figures = [float(v) * 100 if v > -1 else math.nan for v in evaluator.stats]
    return CocoMetrics(*figures)


def official_evaluator(
    truth: GroundTruth, predictions: Predictions, sigmas: Sequence[float]
) -> Any:
    """A ``pycocotools.cocoeval.COCOeval`` of keypoints, not yet run; it talks on stdout.

    Args:
        truth: As :func:`coco_metrics` takes it.
        predictions: Likewise; at least one pose, which is what the evaluator can load.
        sigmas: Likewise.

    Raises:
        MissingDependency: As :func:`coco_metrics`.
        ValueError: Likewise.
    """
    _check(truth, predictions, sigmas)
    coco = require("pycocotools.coco", "eval")
    cocoeval = require("pycocotools.cocoeval", "eval")
    annotated = coco.COCO()
    annotated.dataset = _annotation_file(truth, predictions)
    annotated.createIndex()
    found = annotated.loadRes(_result_file(predictions))
    evaluator = cocoeval.COCOeval(annotated, found, "keypoints")
    evaluator.params.kpt_oks_sigmas = np.asarray(sigmas, np.float64)
    return evaluator


def _check(truth: GroundTruth, predictions: Predictions, sigmas: Sequence[float]) -> None:
    joints = truth.keypoints.shape[1]
    if predictions.keypoints.shape[1] != joints or len(sigmas) != joints:
        raise ValueError(
            f"{joints} joints annotated, {predictions.keypoints.shape[1]} predicted, "
            f"{len(sigmas)} sigmas"
        )
    if not np.isfinite(predictions.keypoints).all() or not np.isfinite(predictions.scores).all():
        raise ValueError("a predicted keypoint or score is not finite")


def _nobody_found(truth: GroundTruth) -> CocoMetrics:
    """The evaluator cannot load an empty result; everyone is missed, so that all figures are 0."""
    scored = truth.scored

    def zero(low: float, high: float) -> float:
        # Bounds are included on both sides, as in COCOeval.evaluateImg.
        within = (truth.areas >= low) & (truth.areas <= high)
        return 0.0 if (scored & within).any() else math.nan

    every, medium, large = zero(0, 1e10), zero(32**2, 96**2), zero(96**2, 1e10)
    row = (every, every, every, medium, large)
    return CocoMetrics(*row, *row)


def _annotation_file(truth: GroundTruth, predictions: Predictions) -> dict[str, Any]:
    images = np.union1d(truth.image_ids, predictions.image_ids)
    sizes = truth.boxes[:, 2:] - truth.boxes[:, :2]
    counts = (truth.keypoints[..., 2] > 0).sum(1)
    return {
        "info": {},
        "images": [{"id": int(i)} for i in images],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [
            {
                "id": index + 1,
                "image_id": int(truth.image_ids[index]),
                "category_id": 1,
                "iscrowd": int(truth.crowd[index]),
                "num_keypoints": int(counts[index]),
                "keypoints": truth.keypoints[index].ravel().tolist(),
                "bbox": [*truth.boxes[index, :2].tolist(), *sizes[index].tolist()],
                "area": float(truth.areas[index]),
            }
            for index in range(len(truth))
        ],
    }


def _result_file(predictions: Predictions) -> list[dict[str, Any]]:
    points = predictions.keypoints.astype(np.float64)
    rows = np.concatenate([points, np.ones_like(points[..., :1])], -1)  # (M, K, 3)
    return [
        {
            "image_id": int(image),
            "category_id": 1,
            "keypoints": row.ravel().tolist(),
            "score": float(score),
        }
        for image, row, score in zip(predictions.image_ids, rows, predictions.scores, strict=True)
    ]
