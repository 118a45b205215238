"""Measuring poses: OKS, the COCO keypoint protocol, PCKh, and the hold-out rule."""

from edgepose.evaluate.bootstrap import Difference, paired_ap_difference
from edgepose.evaluate.coco import CocoResult, CocoTask, coco_task, evaluate, evaluate_protocols
from edgepose.evaluate.dataset import CocoImage, CocoKeypoints
from edgepose.evaluate.detections import Detections, load_detections
from edgepose.evaluate.holdout import holdout_ids, photo_key
from edgepose.evaluate.metrics import CocoMetrics, GroundTruth, Predictions, coco_metrics
from edgepose.evaluate.mpii import MPII_JOINTS, MpiiPoses
from edgepose.evaluate.nms import oks_nms
from edgepose.evaluate.oks import joint_similarities, oks, pose_scores, ranking_threshold
from edgepose.evaluate.pckh import PckhResult, PckhTask, paired_pckh_difference, pckh_task
from edgepose.evaluate.people import People, Picture
from edgepose.evaluate.predict import Predicted, predict
from edgepose.evaluate.store import PredictionStore

__all__ = [
    "MPII_JOINTS",
    "CocoImage",
    "CocoKeypoints",
    "CocoMetrics",
    "CocoResult",
    "CocoTask",
    "Detections",
    "Difference",
    "GroundTruth",
    "MpiiPoses",
    "PckhResult",
    "PckhTask",
    "People",
    "Picture",
    "Predicted",
    "PredictionStore",
    "Predictions",
    "coco_metrics",
    "coco_task",
    "evaluate",
    "evaluate_protocols",
    "holdout_ids",
    "joint_similarities",
    "load_detections",
    "oks",
    "oks_nms",
    "paired_ap_difference",
    "paired_pckh_difference",
    "pckh_task",
    "photo_key",
    "pose_scores",
    "predict",
    "ranking_threshold",
]
