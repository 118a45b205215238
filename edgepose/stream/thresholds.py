"""From which score a joint counts as seen, where the user gives no threshold."""

from __future__ import annotations

import math

from edgepose.spec import PoseSpec

__all__ = ["joint_threshold"]

_OF_A_PERFECT_JOINT = 0.3
# Width of the labels that edgepose trains SimCC heads with: a share of the bins, and a least width.
_SIMCC_LABEL = 0.012
_SIMCC_LEAST_LABEL = 1.25


def joint_threshold(spec: PoseSpec) -> float:
    """0.3 of the score that a perfectly certain joint gets.

    A heatmap's peak is 1 for a certain joint. A SimCC score is the probability of one bin, and the
    label it is trained with spreads over many: the peak of a Gaussian of s bins is
    1 / (s * sqrt(2 pi)), 0.32 at best for a 32x32 crop and 0.13 for a 128x128 one.
    """
    if spec.output != "simcc":
        return _OF_A_PERFECT_JOINT
    bins = max(spec.input_size) * spec.decoder.split_ratio
    spread = max(_SIMCC_LEAST_LABEL, _SIMCC_LABEL * bins)
    return _OF_A_PERFECT_JOINT / (spread * math.sqrt(2 * math.pi))
