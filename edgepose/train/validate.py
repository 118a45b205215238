"""Accuracy of a model on the validation fold, through the inference path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from edgepose.crops import apply_affines, box_affines, to_input, unapply_affines, warp_crops
from edgepose.decode import decode
from edgepose.evaluate import (
    GroundTruth,
    Predictions,
    coco_metrics,
    oks,
    pose_scores,
    ranking_threshold,
)
from edgepose.images import read_image
from edgepose.poses import UInt8
from edgepose.runtime.base import Runner
from edgepose.spec import PoseSpec
from edgepose.train.annotations import Record
from edgepose.train.recipe import LossSettings
from edgepose.train.targets import pose_loss

__all__ = ["Validation", "Validator"]


@dataclass(frozen=True)
class Validation:
    """What a validation found.

    Attributes:
        loss: Mean loss over the annotated joints.
        ap: COCO AP in percent, each person alone with its ground-truth box.
        ap50: The same at OKS 0.5.
        oks: Mean OKS in percent.
    """

    loss: float
    ap: float
    ap50: float
    oks: float


class Validator:
    """Holds the fold's crops, cut once per input size by the inference path.

    Args:
        records: Persons of the fold.
        spec: The model's spec at this input size.
    """

    def __init__(self, records: Sequence[Record], spec: PoseSpec) -> None:
        self.records = records
        self.spec = spec
        self.boxes = np.stack([record.box for record in records])
        self.affines = box_affines(self.boxes, spec.input_size, spec.padding)
        self.crops: UInt8 = np.concatenate(
            [
                warp_crops(read_image(r.image), self.affines[i : i + 1], spec.input_size)
                for i, r in enumerate(records)
            ]
        )
        joints = np.stack([record.joints for record in records])  # (N, K, 3)
        self.in_crop = apply_affines(joints[..., :2], self.affines)
        height, width = spec.input_size
        # As in training, a joint beyond the crop has no place on a map and no part in the loss;
        # in the accuracy it counts all the same.
        inside = (self.in_crop > -0.5) & (self.in_crop < np.array([width, height]) - 0.5)
        self.weights = ((joints[..., 2] > 0) & inside.all(-1)).astype(np.float32)
        # Each person counts as an image of its own: its neighbours are no rivals, having no boxes.
        self.truth = GroundTruth(
            np.arange(1, len(records) + 1),
            joints.astype(np.float64),
            self.boxes.astype(np.float64),
            np.array([record.area for record in records], np.float64),
            np.zeros(len(records), np.bool_),
        )

    def run(self, runner: Runner, settings: LossSettings) -> Validation:
        """Loss, AP and mean OKS of a runner on the fold."""
        losses, points, scores = [], [], []
        for start in range(0, len(self.crops), runner.max_batch):
            part = slice(start, start + runner.max_batch)
            outputs = runner.infer(to_input(self.crops[part], self.spec))
            tensors = {name: torch.from_numpy(value) for name, value in outputs.items()}
            weights = torch.from_numpy(self.weights[part])
            inside = torch.from_numpy(self.in_crop[part])
            loss = pose_loss(tensors, inside, weights, self.spec, settings)
            losses.append(float(loss) * float(weights.sum()))
            keypoints, confidence = decode(outputs, self.spec)
            points.append(unapply_affines(keypoints, self.affines[part]))
            scores.append(confidence)
        keypoints, confidence = np.concatenate(points), np.concatenate(scores)
        truth, sigmas = self.truth, self.spec.keypoints.sigmas
        ranks = pose_scores(confidence, threshold=ranking_threshold(self.spec.output))
        predictions = Predictions(truth.image_ids, keypoints, ranks)
        metrics = coco_metrics(truth, predictions, sigmas)
        similarity = oks(keypoints, truth.keypoints, truth.areas, sigmas)
        return Validation(
            loss=sum(losses) / float(self.weights.sum()),
            ap=metrics.ap,
            ap50=metrics.ap50,
            oks=float(similarity.mean()) * 100,
        )
