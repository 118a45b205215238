"""OKS-NMS: of poses that are nearly the same, the one with the best score stays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgepose.evaluate.oks import joint_similarities

__all__ = ["OKS_NMS", "oks_nms"]

# A pose more similar than this to a better one is taken for the same person.
OKS_NMS = 0.9


def oks_nms(
    keypoints: npt.ArrayLike,
    scores: npt.ArrayLike,
    areas: npt.ArrayLike,
    sigmas: Sequence[float],
    threshold: float = OKS_NMS,
) -> npt.NDArray[np.intp]:
    """Which poses of one photo stay.

    Greedy, best score first, equal scores in the order given. Two poses are compared over all their
    joints, with the mean of their areas. So does the published evaluation of HRNet (Sun et al.,
    CVPR 2019), with the area of the crop (the padded box) and a threshold of 0.9.

    Args:
        keypoints: (N, K, 2) x and y.
        scores: (N,) the scores that rank the poses.
        areas: (N,) in square pixels.
        sigmas: K OKS sigmas of the keypoint set.
        threshold: A pose is dropped if its OKS with one that stays is above it.

    Returns:
        (M,) indices of those that stay, best first.
    """
    points = np.asarray(keypoints, np.float64)
    sizes = np.asarray(areas, np.float64)
    left = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        similar = joint_similarities(
            points[left], points[best][None], (sizes[left] + sizes[best]) / 2, sigmas
        ).mean(1)  # (left,)
        left = left[similar <= threshold]
    return np.array(kept, np.intp)
