"""The COCO keypoint protocol over any estimator, with annotated boxes or those of a detector."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgepose.crops import box_affines
from edgepose.errors import DatasetError
from edgepose.estimator import Estimator
from edgepose.evaluate.dataset import CocoKeypoints
from edgepose.evaluate.detections import Detections, check_known, detected_people, load_detections
from edgepose.evaluate.holdout import HOLDOUT_NAME, coco_named, holdout_ids, in_holdout
from edgepose.evaluate.metrics import CocoMetrics, Predictions, coco_metrics
from edgepose.evaluate.nms import OKS_NMS, oks_nms
from edgepose.evaluate.oks import (
    joint_similarities,
    judging_sigmas,
    oks,
    pose_scores,
    ranking_threshold,
)
from edgepose.evaluate.people import People, Picture, count_of_photos, numbered_within
from edgepose.evaluate.predict import Predicted, Progress, predict
from edgepose.poses import Float32
from edgepose.spec import PoseSpec, Provenance

__all__ = ["CocoResult", "CocoTask", "coco_task", "evaluate", "evaluate_protocols", "restrict"]

Float64 = npt.NDArray[np.float64]
_OWN_SIGMAS = (
    "judged by COCO's OKS sigmas: the artefact's spec has others, by which no AP can be compared"
)


@dataclass(frozen=True)
class CocoResult:
    """Accuracy of one artefact on one set of photos, with the protocol it was measured by.

    Attributes:
        metrics: The official figures, in percent.
        name: What the figures are of: ``the edgepose hold-out`` or the data set's name, with the
            number of photos where only the first were taken.
        persons: Annotated persons that counted.
        images: Photos measured on.
        boxes: Who drew the boxes: ``ground truth`` or ``detections of FILE``.
        nms: OKS above which a pose was taken for one that ranks better, or None without NMS.
        flip: Whether outputs were averaged with those of the mirrored crop.
        threshold: Keypoint scores above it make a pose's rank.
        note: Why fewer photos than given were used, or other sigmas than the artefact's; or None.
        joint_similarity: (K,) mean OKS term of each joint where annotated, 0..1; nan if never. With
            a detector's boxes of the pose most like the person, and 0 where its photo has none.
        annotations_sha256: Digest of the annotation file.
        detections: Digest of the detections file, how many boxes, the least score; None without.
    """

    metrics: CocoMetrics
    name: str
    persons: int
    images: int
    flip: bool
    threshold: float
    note: str | None
    joint_similarity: tuple[float, ...]
    annotations_sha256: str
    boxes: str = "ground truth"
    nms: float | None = None
    detections: dict[str, Any] | None = None

    @property
    def label(self) -> str:
        """How the AP has to be called wherever it is quoted."""
        boxes = "GT boxes" if self.detections is None else "detected boxes"
        flip = "on" if self.flip else "off"
        return f"AP on {self.name} ({self.persons} persons, {boxes}, flip {flip})"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "label": self.label,
            "metrics": self.metrics.to_dict(),
            "protocol": {
                "set": self.name,
                "persons": self.persons,
                "images": self.images,
                "metric": "COCO keypoint AP and AR by pycocotools, percent",
                "boxes": self.boxes,
                "detections": self.detections,
                "flip": self.flip,
                "nms": None if self.nms is None else f"OKS above {self.nms:g}",
                "ranking": ("" if self.detections is None else "box score times ")
                + f"mean of keypoint scores above {self.threshold:g}",
                "annotations_sha256": self.annotations_sha256,
                "note": self.note,
            },
            "joint_similarity": [
                None if math.isnan(v) else round(v, 5) for v in self.joint_similarity
            ],
        }


@dataclass(frozen=True)
class CocoTask:
    """Whom to find in which photos, and how to judge what was found.

    Attributes:
        dataset: The photos measured on, with their annotations.
        people: The boxes to look in.
        note: Why fewer photos than given are measured on, or by other sigmas than the artefact's;
            or None.
        detections: Where the boxes come from, or None for the annotated ones.
        box_threshold: Least score of a detected box.
    """

    dataset: CocoKeypoints
    people: People
    note: str | None
    detections: Detections | None = None
    box_threshold: float = 0.0

    @property
    def name(self) -> str:
        """What is measured on, as its figures call it."""
        return _called(self.dataset)

    def annotated(self, joints: int) -> Float64:
        """(N, joints, 3) annotations of the people; nothing of a detector's boxes."""
        if self.detections is None:
            return self.dataset.truth.keypoints[_countable(self.dataset)]
        return np.zeros((len(self.people), joints, 3))

    def ranked(self, predicted: Predicted, spec: PoseSpec) -> Predictions:
        """What the metrics are computed from: poses with their ranks, doubles removed.

        Of annotated boxes all poses, ranked by their keypoint scores. Of detected ones the protocol
        of HRNet: the box's score times the mean of the keypoint scores, then OKS-NMS.
        """
        people, threshold = predicted.people, ranking_threshold(spec.output)
        if self.detections is None:
            ranks = pose_scores(predicted.scores, threshold=threshold)
            return Predictions(people.image_ids, predicted.keypoints, ranks)
        ranks = pose_scores(predicted.scores, people.box_scores, threshold)
        areas, sigmas = _crop_areas(people.boxes, spec), judging_sigmas(spec.keypoints)
        kept = [
            rows[oks_nms(predicted.keypoints[rows], ranks[rows], areas[rows], sigmas)]
            for rows in _by_photo(people.image_ids)
        ]
        # In the order of the file: it decides between equal scores.
        chosen = np.sort(np.concatenate(kept))
        return Predictions(people.image_ids[chosen], predicted.keypoints[chosen], ranks[chosen])

    def judge(self, predicted: Predicted, spec: PoseSpec) -> CocoResult:
        """AP, AR and what belongs to them.

        Raises:
            MissingDependency: pycocotools is not installed.
        """
        ranked = self.ranked(predicted, spec)
        truth = self.dataset.truth
        detected = self.detections
        return CocoResult(
            metrics=coco_metrics(truth, ranked, judging_sigmas(spec.keypoints)),
            name=self.name,
            persons=self.dataset.persons,
            images=len(self.dataset.images) + (0 if detected is None else len(self.dataset.empty)),
            flip=predicted.flip,
            threshold=ranking_threshold(spec.output),
            note=self.note,
            joint_similarity=_column_means(self._similarities(predicted, ranked, spec)),
            annotations_sha256=self.dataset.sha256,
            boxes=self.people.source,
            nms=None if detected is None else OKS_NMS,
            detections=None
            if detected is None
            else {
                "sha256": detected.sha256,
                "boxes": len(self.people),
                "least_score": self.box_threshold,
            },
        )

    def _similarities(self, predicted: Predicted, ranked: Predictions, spec: PoseSpec) -> Float64:
        """(persons, K) OKS terms of the persons that count."""
        truth = self.dataset.truth
        if self.detections is None:
            truth = truth.take(_countable(self.dataset))
            return joint_similarities(
                predicted.keypoints, truth.keypoints, truth.areas, judging_sigmas(spec.keypoints)
            )
        truth = truth.take(truth.scored)
        terms = np.where(truth.keypoints[..., 2] > 0, 0.0, np.nan)
        for row, image in enumerate(truth.image_ids):
            poses = ranked.keypoints[ranked.image_ids == image]
            if len(poses):
                person = truth.keypoints[row][None].repeat(len(poses), 0)
                areas = truth.areas[row].repeat(len(poses))
                best = int(oks(poses, person, areas, judging_sigmas(spec.keypoints)).argmax())
                terms[row] = joint_similarities(
                    poses[best][None], person[:1], areas[:1], judging_sigmas(spec.keypoints)
                )[0]
        return terms


def coco_task(
    dataset: CocoKeypoints,
    spec: PoseSpec,
    detections: str | Path | None = None,
    box_threshold: float = 0.0,
    limit: int | None = None,
) -> CocoTask:
    """What to do for a model of that spec.

    Of COCO's photos, weights whose spec says ``holdout_only`` are measured on those of the
    hold-out alone, whatever is handed in; the task's note then says so. COCO's joints are judged by
    COCO's OKS sigmas, whatever the spec says; the note tells where it says otherwise.

    Args:
        dataset: Photos and annotations, in the model's keypoint set.
        spec: The model's spec.
        detections: File of detected boxes; the annotated ones by default.
        box_threshold: Detected boxes with a lower score are dropped.
        limit: Only so many photos, the first.

    Raises:
        DatasetError: The keypoint sets differ, no photo is on the hold-out list, or the detections
            are damaged or of other photos.
    """
    if dataset.keypoints.names != spec.keypoints.names:
        raise DatasetError(
            "the data set has other keypoints than the model",
            f"{len(dataset.keypoints)} annotated, {len(spec.keypoints)} predicted",
        )
    found = None if detections is None else load_detections(detections)
    if found is not None:
        check_known(found, dataset)
    if limit is not None:
        dataset = dataset.first(limit)
    kept, note = restrict(dataset, spec.provenance)
    if spec.keypoints.sigmas != judging_sigmas(spec.keypoints):
        note = "; ".join(filter(None, (note, _OWN_SIGMAS)))
    if found is None:
        return CocoTask(kept, _annotated_people(kept), note)
    people = detected_people(found, kept, box_threshold)
    return CocoTask(kept, people, note, found, box_threshold)


def evaluate(
    estimator: Estimator,
    dataset: CocoKeypoints,
    *,
    flip: bool = False,
    batch: int | None = None,
    progress: Progress | None = None,
) -> CocoResult:
    """AP and AR with ground-truth boxes, flip test on request, no NMS.

    Persons of neighbouring photos share a batch; the result does not depend on how they are
    batched (beyond the runtime's own rounding). Weights whose spec says ``holdout_only`` are
    measured on hold-out photos alone, whatever is handed in; ``note`` then says so.

    Args:
        estimator: The loaded artefact.
        dataset: Photos and annotations, in the estimator's keypoint set.
        flip: Average with the mirrored crop.
        batch: Persons in one call; by default what the runner takes, at most 32.
        progress: Called with (persons done, persons in all) after each batch.

    Raises:
        DatasetError: The keypoint sets differ, no photo is on the hold-out list, or a photo has
            another size than was annotated.
        ImageError: A photo is damaged.
        MissingDependency: pycocotools is not installed.
    """
    return evaluate_protocols(estimator, dataset, (flip,), batch=batch, progress=progress)[0]


def evaluate_protocols(
    estimator: Estimator,
    dataset: CocoKeypoints,
    flips: Sequence[bool],
    *,
    batch: int | None = None,
    progress: Progress | None = None,
) -> list[CocoResult]:
    """:func:`evaluate` for each of ``flips``, in one pass over the photos."""
    task = coco_task(dataset, estimator.spec)
    found = predict(estimator, task.people, flips=flips, batch=batch, progress=progress)
    return [task.judge(predicted, estimator.spec) for predicted in found]


def restrict(dataset: CocoKeypoints, provenance: Provenance) -> tuple[CocoKeypoints, str | None]:
    """Apply the hold-out rule; also gives the sentence that tells the user, or None.

    Photos that are not named as COCO's are somebody's own. They stay, with a word of warning: for
    all that is known here they may be among those that the weights were trained on.

    Raises:
        DatasetError: All photos are COCO's, and none is of the hold-out.
    """
    if not provenance.holdout_only:
        return dataset, None
    kept = dataset.where(lambda image: in_holdout(image.photo) or not coco_named(image.photo))
    if not kept.persons:
        raise DatasetError(
            f"these weights cannot be measured on {dataset.name}",
            "they were trained on photos of the usual validation set, so that only the "
            f"{len(holdout_ids())} COCO val2017 photos of the edgepose hold-out count, and none "
            "of them is here",
            "give a COCO val2017 folder",
        )
    own = sum(not coco_named(image.photo) for image in kept.images)
    notes = []
    if len(kept.images) < len(dataset.images):
        which = f"that are not COCO's and those of {HOLDOUT_NAME}" if own else f"of {HOLDOUT_NAME}"
        notes.append(
            f"measured on {len(kept.images)} of {len(dataset.images)} photos, those {which}: "
            "these weights were trained on photos of the usual validation set"
        )
    if own:
        notes.append(
            f"nobody knows here whether these weights have seen {own} of the photos, which are "
            f"not COCO's; they were trained on {provenance.trained_on or 'what they do not tell'}"
        )
    return kept, "; ".join(notes) or None


def _called(dataset: CocoKeypoints) -> str:
    """What was measured, so that a quick look never passes for the whole set."""
    whole = dataset.name
    if all(in_holdout(image.photo) for image in dataset.images):
        whole = HOLDOUT_NAME
    if dataset.limited is None:
        return whole
    count = len(dataset.images)
    if count == dataset.limited:
        return f"the first {count_of_photos(count)} of {whole}"
    return (
        f"{count_of_photos(count)} of {whole}, among the first {dataset.limited} of {dataset.name}"
    )


def _annotated_people(dataset: CocoKeypoints) -> People:
    """The boxes of the persons that count."""
    rows = _countable(dataset)
    truth = dataset.truth
    used = {int(i) for i in truth.image_ids[rows]}
    return People(
        tuple(Picture(i.id, i.path, i.size) for i in dataset.images if i.id in used),
        truth.image_ids[rows],
        numbered_within(truth.image_ids)[rows],
        truth.boxes[rows].astype(np.float32),
        np.ones(len(rows)),
        "ground truth",
    )


def _countable(dataset: CocoKeypoints) -> npt.NDArray[np.intp]:
    """Rows of the persons to look for, by photo, in file order within each."""
    boxes = dataset.truth.boxes
    has_area = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    rows = np.flatnonzero(dataset.truth.scored & has_area)
    return rows[np.argsort(dataset.truth.image_ids[rows], kind="stable")]


def _crop_areas(boxes: Float32, spec: PoseSpec) -> Float64:
    """(N,) areas of the padded boxes, in the photo's pixels."""
    height, width = spec.input_size
    scale = box_affines(boxes, spec.input_size, spec.padding)[:, 0, 0]
    areas: Float64 = height * width / scale**2
    return areas


def _by_photo(image_ids: npt.NDArray[np.int64]) -> list[npt.NDArray[np.intp]]:
    """Rows of each photo; the ids are ascending."""
    starts = np.unique(image_ids, return_index=True)[1]
    return np.split(np.arange(len(image_ids)), starts[1:])


def _column_means(values: Float64) -> tuple[float, ...]:
    known = ~np.isnan(values)
    count = known.sum(0)
    total = np.where(known, values, 0).sum(0)
    means = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return tuple(float(v) for v in means)
