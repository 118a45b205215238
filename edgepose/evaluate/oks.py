"""Object keypoint similarity, and the score that ranks poses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgepose.spec import COCO_KEYPOINTS, KeypointSet, OutputKind

__all__ = [
    "AREA_OF_BOX",
    "joint_similarities",
    "judging_sigmas",
    "oks",
    "pose_scores",
    "ranking_threshold",
]

# COCO's areas are of the person's outline, which fills about half of its box.
AREA_OF_BOX = 0.53

Float64 = npt.NDArray[np.float64]


def judging_sigmas(keypoints: KeypointSet) -> tuple[float, ...]:
    """The OKS sigmas that accuracy is judged by: COCO's where all names are COCO's.

    An artefact does not say how strictly it is measured: with sigmas twice as large any pose scores
    higher, and its AP could be compared with nobody's.

    Args:
        keypoints: What the artefact predicts.

    Returns:
        A value a keypoint; those of ``keypoints`` itself where COCO does not know them.
    """
    known = dict(zip(COCO_KEYPOINTS.names, COCO_KEYPOINTS.sigmas, strict=True))
    if not set(keypoints.names) <= set(known):
        return keypoints.sigmas
    return tuple(known[name] for name in keypoints.names)


def joint_similarities(
    predicted: npt.ArrayLike,
    truth: npt.ArrayLike,
    areas: npt.ArrayLike,
    sigmas: Sequence[float],
) -> Float64:
    """What each joint contributes to OKS: exp(-d^2 / (2 s^2 k^2)), with s^2 the area, k = 2 sigma.

    Source: https://cocodataset.org/#keypoints-eval, section "Object Keypoint Similarity".

    Args:
        predicted: (N, K, 2) x and y.
        truth: (N, K, 2) or (N, K, 3) x, y and, with three columns, visibility.
        areas: (N,) areas of the persons, in square pixels of the same picture.
        sigmas: K values of the keypoint set.

    Returns:
        (N, K) in 0..1; nan where the joint is not annotated (visibility 0).
    """
    points = np.asarray(predicted, np.float64)
    joints = np.asarray(truth, np.float64)
    squared = ((points - joints[..., :2]) ** 2).sum(-1)  # (N, K)
    variances = (2 * np.asarray(sigmas, np.float64)) ** 2
    scale = np.asarray(areas, np.float64)[:, None] + np.spacing(1)
    similar: Float64 = np.exp(-squared / (2 * variances * scale))
    if joints.shape[-1] == 3:
        similar = np.where(joints[..., 2] > 0, similar, np.nan)
    return similar


def oks(
    predicted: npt.ArrayLike,
    truth: npt.ArrayLike,
    areas: npt.ArrayLike,
    sigmas: Sequence[float],
) -> Float64:
    """OKS of each predicted pose with its own ground truth: the mean over annotated joints.

    Args:
        predicted: As :func:`joint_similarities` takes it.
        truth: Likewise.
        areas: Likewise.
        sigmas: Likewise.

    Returns:
        (N,) in 0..1; nan for a person without an annotated joint.
    """
    similar = joint_similarities(predicted, truth, areas, sigmas)
    annotated = ~np.isnan(similar)
    count = annotated.sum(1)
    total = np.where(annotated, similar, 0).sum(1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def ranking_threshold(output: OutputKind) -> float:
    """Which keypoint scores count for a pose's rank: those above 0.2, of SimCC heads all.

    A heatmap's peak is near 1 for a certain joint. A SimCC score is the probability of one bin out
    of a smoothed label: 0.32 at best for a 32x32 crop, so that 0.2 would silence most joints.
    """
    return 0.0 if output == "simcc" else 0.2


def pose_scores(
    scores: npt.ArrayLike, box_scores: npt.ArrayLike | None = None, threshold: float = 0.2
) -> Float64:
    """The score that ranks poses: box score times the mean of the keypoint scores above 0.2.

    The protocol of HRNet (Sun et al., CVPR 2019) and of all who compare with it. A pose without
    any keypoint above the threshold scores 0.

    Args:
        scores: (N, K) keypoint scores.
        box_scores: (N,), 1 by default (ground-truth boxes).
        threshold: Keypoints at or below it are left out of the mean.

    Returns:
        (N,) scores.
    """
    values = np.asarray(scores, np.float64)
    strong = values > threshold
    total = np.where(strong, values, 0).sum(1)
    ranked: Float64 = total / np.maximum(strong.sum(1), 1)
    return ranked if box_scores is None else ranked * np.asarray(box_scores, np.float64)
