"""The COCO keypoint protocol with ground-truth boxes, over any estimator."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgepose.crops import apply_affines, box_affines, invert_affines, warp_crops
from edgepose.errors import DatasetError
from edgepose.estimator import Estimator
from edgepose.evaluate.dataset import CocoImage, CocoKeypoints
from edgepose.evaluate.holdout import HOLDOUT_NAME, holdout_ids, in_holdout
from edgepose.evaluate.metrics import CocoMetrics, Predictions, coco_metrics
from edgepose.evaluate.oks import joint_similarities, pose_scores, ranking_threshold
from edgepose.images import read_image
from edgepose.poses import Float32, UInt8

__all__ = ["CocoResult", "evaluate", "restrict"]

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class CocoResult:
    """Accuracy of one artefact on one set of photos, with the protocol it was measured by.

    Attributes:
        metrics: The official figures, in percent.
        name: What the figures are of: ``the edgepose hold-out`` or the data set's name, with the
            number of photos where only the first were taken.
        persons: Persons that counted.
        images: Photos they are in.
        flip: Whether outputs were averaged with those of the mirrored crop.
        threshold: Keypoint scores above it make a pose's rank.
        note: Why fewer photos than given were used, or None.
        joint_similarity: (K,) mean OKS term of each joint where annotated, 0..1; nan if never.
        annotations_sha256: Digest of the annotation file.
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

    @property
    def label(self) -> str:
        """How the AP has to be called wherever it is quoted."""
        flip = "on" if self.flip else "off"
        return f"AP on {self.name} ({self.persons} persons, GT boxes, flip {flip})"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "label": self.label,
            "metrics": self.metrics.to_dict(),
            "protocol": {
                "set": self.name,
                "persons": self.persons,
                "images": self.images,
                "boxes": "ground truth",
                "flip": self.flip,
                "nms": None,
                "ranking": f"mean of keypoint scores above {self.threshold:g}",
                "annotations_sha256": self.annotations_sha256,
                "note": self.note,
            },
            "joint_similarity": [
                None if math.isnan(v) else round(v, 5) for v in self.joint_similarity
            ],
        }


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
    spec = estimator.spec
    if dataset.keypoints.names != spec.keypoints.names:
        raise DatasetError(
            "the data set has other keypoints than the model",
            f"{len(dataset.keypoints)} annotated, {len(spec.keypoints)} predicted",
        )
    dataset, note = restrict(dataset, holdout_only=spec.provenance.holdout_only)
    people = np.flatnonzero(dataset.truth.scored & _has_area(dataset.truth.boxes))
    keypoints = np.zeros((len(people), len(spec.keypoints), 2), np.float32)
    scores = np.zeros((len(people), len(spec.keypoints)), np.float32)
    done = 0
    for crops, inverse in _batches(estimator, dataset, people, batch or _batch_of(estimator)):
        part = slice(done, done + len(crops))
        found, scores[part] = estimator.infer_crops(crops, flip=flip)
        keypoints[part] = apply_affines(found, inverse)
        done += len(crops)
        if progress is not None:
            progress(done, len(people))
    # _batches walks photos in the order of their ids, persons in file order within each.
    order = people[np.argsort(dataset.truth.image_ids[people], kind="stable")]
    truth = dataset.truth.take(order)
    threshold = ranking_threshold(spec.output)
    predictions = Predictions(truth.image_ids, keypoints, pose_scores(scores, threshold=threshold))
    similar = joint_similarities(keypoints, truth.keypoints, truth.areas, spec.keypoints.sigmas)
    return CocoResult(
        metrics=coco_metrics(dataset.truth, predictions, spec.keypoints.sigmas),
        name=_called(dataset),
        persons=dataset.persons,
        images=len(dataset.images),
        flip=flip,
        threshold=threshold,
        note=note,
        joint_similarity=_column_means(similar),
        annotations_sha256=dataset.sha256,
    )


def restrict(dataset: CocoKeypoints, *, holdout_only: bool) -> tuple[CocoKeypoints, str | None]:
    """Apply the hold-out rule; also gives the sentence that tells the user, or None.

    Raises:
        DatasetError: Only hold-out photos may be used, and there are none.
    """
    if not holdout_only:
        return dataset, None
    kept = dataset.where(lambda image: in_holdout(image.photo))
    if not kept.persons:
        raise DatasetError(
            f"these weights cannot be measured on {dataset.name}",
            "they were trained on photos of the usual validation set, so that only the "
            f"{len(holdout_ids())} COCO val2017 photos of the edgepose hold-out count, and none "
            "of them is here",
            "give a COCO val2017 folder",
        )
    if len(kept.images) == len(dataset.images):
        return dataset, None
    return kept, (
        f"measured on {len(kept.images)} of {len(dataset.images)} photos, those of "
        f"{HOLDOUT_NAME}: these weights were trained on photos of the usual validation set"
    )


def _called(dataset: CocoKeypoints) -> str:
    """What was measured, so that a quick look never passes for the whole set."""
    whole = dataset.name
    if all(in_holdout(image.photo) for image in dataset.images):
        whole = HOLDOUT_NAME
    if dataset.limited is None:
        return whole
    count = len(dataset.images)
    if count == dataset.limited:
        return f"the first {_photos(count)} of {whole}"
    return f"{_photos(count)} of {whole}, among the first {dataset.limited} of {dataset.name}"


def _photos(count: int) -> str:
    return "1 photo" if count == 1 else f"{count} photos"


def _batch_of(estimator: Estimator) -> int:
    largest = max(estimator.runner.buckets or (32,))
    return min(estimator.runner.max_batch, largest)


def _has_area(boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    return (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])


def _batches(
    estimator: Estimator, dataset: CocoKeypoints, people: npt.NDArray[np.intp], size: int
) -> Iterator[tuple[UInt8, npt.NDArray[np.float64]]]:
    """Crops of ``size`` persons at a time (fewer at the end), with their crop -> image affines."""
    spec = estimator.spec
    crops: list[UInt8] = []
    inverses: list[npt.NDArray[np.float64]] = []
    rows_of = _rows_by_image(dataset, people)
    for picture in dataset.images:
        rows = rows_of.get(picture.id)
        if rows is None:
            continue
        boxes: Float32 = dataset.truth.boxes[rows].astype(np.float32)
        affines = box_affines(boxes, spec.input_size, spec.padding)
        crops.extend(warp_crops(_read(picture), affines, spec.input_size))
        inverses.extend(invert_affines(affines))
        while len(crops) >= size:
            yield np.stack(crops[:size]), np.stack(inverses[:size])
            del crops[:size], inverses[:size]
    if crops:
        yield np.stack(crops), np.stack(inverses)


def _read(picture: CocoImage) -> UInt8:
    """The photo's pixels as stored, which is what COCO annotates (EXIF turns are ignored)."""
    image = read_image(picture.path, upright=False)
    height, width = image.shape[:2]
    if (width, height) != picture.size:
        raise DatasetError(
            f"{picture.path} is not the photo that was annotated",
            f"it is {width}x{height}, annotated were {picture.size[0]}x{picture.size[1]} pixels",
        )
    return image


def _rows_by_image(
    dataset: CocoKeypoints, people: npt.NDArray[np.intp]
) -> dict[int, npt.NDArray[np.intp]]:
    ids = dataset.truth.image_ids[people]
    order = np.argsort(ids, kind="stable")
    unique, starts = np.unique(ids[order], return_index=True)
    groups = np.split(people[order], starts[1:])
    return {int(i): group for i, group in zip(unique, groups, strict=True)}


def _column_means(values: npt.NDArray[np.float64]) -> tuple[float, ...]:
    known = ~np.isnan(values)
    count = known.sum(0)
    total = np.where(known, values, 0).sum(0)
    means = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return tuple(float(v) for v in means)
