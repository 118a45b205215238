"""From a frame to the poses in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from edgepose.estimator import Estimator
from edgepose.poses import Float32, Frame, Poses
from edgepose.stream.statistics import Stopwatch

__all__ = ["BoxesIn", "Pipeline", "TopDown"]

# Frame -> boxes (N, 4) x0 y0 x1 y1 and their scores (N,): a detector, a file of boxes, a tracker.
BoxesIn = Callable[[Frame], tuple[Float32, Float32]]


class Pipeline(Protocol):
    """Poses of a frame. May remember earlier frames, so every source needs one of its own."""

    def __call__(self, frame: Frame, watch: Stopwatch) -> Poses:
        """Find the people; the stages are timed with ``watch``."""
        ...


class TopDown:
    """Boxes first, then a pose in every box, all boxes in one batch.

    Args:
        estimator: Boxes to poses.
        boxes_in: Frame to boxes.
    """

    def __init__(self, estimator: Estimator, boxes_in: BoxesIn) -> None:
        self._estimator = estimator
        self._boxes_in = boxes_in

    def __call__(self, frame: Frame, watch: Stopwatch) -> Poses:
        """See :class:`Pipeline`."""
        with watch("boxes"):
            boxes, scores = self._boxes_in(frame)
        with watch("pose"):
            return self._estimator(frame.image, boxes, scores)
