"""Measuring poses: OKS, the COCO keypoint protocol, and the hold-out rule."""

from edgepose.evaluate.coco import CocoResult, evaluate
from edgepose.evaluate.dataset import CocoImage, CocoKeypoints
from edgepose.evaluate.holdout import holdout_ids, photo_key
from edgepose.evaluate.metrics import CocoMetrics, GroundTruth, Predictions, coco_metrics
from edgepose.evaluate.oks import joint_similarities, oks, pose_scores, ranking_threshold

__all__ = [
    "CocoImage",
    "CocoKeypoints",
    "CocoMetrics",
    "CocoResult",
    "GroundTruth",
    "Predictions",
    "coco_metrics",
    "evaluate",
    "holdout_ids",
    "joint_similarities",
    "oks",
    "photo_key",
    "pose_scores",
    "ranking_threshold",
]
