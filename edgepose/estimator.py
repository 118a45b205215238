"""Boxes and an image in, poses out, over any Runner."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgepose.closing import Closing
from edgepose.crops import (
    box_affines,
    cut_inputs,
    to_input,
    unapply_affines,
    warp_crops,
)
from edgepose.decode import decode, flip_outputs
from edgepose.poses import Float32, Poses, UInt8, check_boxes, check_image
from edgepose.runtime.base import Runner
from edgepose.spec import PoseSpec

__all__ = ["Estimator"]


class Estimator(Closing):
    """Top-down pose estimation: every box is cropped, all crops go through the net together.

    Use as a function, and as a context manager where the runner holds a device::

        pose = edgepose.load("mitpose-lite")
        poses = pose(image, boxes)

    Args:
        runner: The loaded artefact.
    """

    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    @property
    def spec(self) -> PoseSpec:
        """The artefact's spec."""
        return self.runner.spec

    def __call__(
        self,
        image: UInt8,
        boxes: npt.ArrayLike | None = None,
        box_scores: npt.ArrayLike | None = None,
        *,
        flip: bool = False,
    ) -> Poses:
        """Poses of the people in ``boxes``.

        Args:
            image: (H, W, 3) uint8 BGR; grey, BGRA and 16-bit images are converted.
            boxes: (N, 4) x0 y0 x1 y1 in pixels; None takes the whole image as one box.
            box_scores: (N,) confidences of the boxes, 1 by default.
            flip: Average with the mirrored crop (twice the work; the usual test protocol).

        Raises:
            ImageError: The image is none of the above.
            BoxError: A box is not finite, has no area or lies outside the image.
        """
        image = check_image(image)
        if boxes is None:
            boxes = [[0, 0, image.shape[1], image.shape[0]]]
        corners = check_boxes(boxes, image.shape)
        count = len(corners)
        if box_scores is None:
            confidences = np.ones(count, np.float32)
        else:
            confidences = np.asarray(box_scores, np.float32).reshape(count)
        if count == 0:
            return Poses.empty(len(self.spec.keypoints))
        affines = box_affines(corners, self.spec.input_size, self.spec.padding)
        if flip:
            crops = warp_crops(image, affines, self.spec.input_size)
            keypoints, scores = self.infer_crops(crops, flip=True)
        else:
            keypoints, scores = self._infer_inputs(cut_inputs(image, affines, self.spec))
        return Poses(unapply_affines(keypoints, affines), scores, corners, confidences)

    def infer_crops(self, crops: UInt8, *, flip: bool = False) -> tuple[Float32, Float32]:
        """Keypoints of crops that were cut already.

        Args:
            crops: (N, H, W, 3) uint8 BGR of the spec's size.
            flip: As in :meth:`__call__`.

        Returns:
            (N, K, 2) keypoints in crop pixels and (N, K) scores.
        """
        return self.infer_protocols(crops, (flip,))[0]

    def infer_protocols(self, crops: UInt8, flips: Sequence[bool]) -> list[tuple[Float32, Float32]]:
        """What :meth:`infer_crops` gives without and with the mirrored crop, the net run once.

        Args:
            crops: As :meth:`infer_crops` takes them.
            flips: The protocols wanted.

        Returns:
            One pair as :meth:`infer_crops` gives it for each of ``flips``.
        """
        parts = [self._decoded(part, flips) for part in self._batches(crops)]
        return [_joined(column) for column in zip(*parts, strict=True)]

    def _infer_inputs(self, images: npt.NDArray[Any]) -> tuple[Float32, Float32]:
        """:meth:`infer_crops` for crops in the form the graph takes."""
        return _joined([decode(self._run(p), self.spec) for p in self._batches(images)])

    def _batches(self, rows: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
        for start in range(0, len(rows), self.runner.max_batch):
            yield rows[start : start + self.runner.max_batch]

    def _decoded(self, crops: UInt8, flips: Sequence[bool]) -> list[tuple[Float32, Float32]]:
        plain = self._run(to_input(crops, self.spec))
        found = {False: plain}
        if True in flips:
            mirrored = flip_outputs(self._run(to_input(crops[:, :, ::-1], self.spec)), self.spec)
            found[True] = {name: (value + mirrored[name]) / 2 for name, value in plain.items()}
        return [decode(found[flip], self.spec) for flip in flips]

    def _run(self, images: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """One call of the runner, padded to the next bucket where the artefact has buckets."""
        count = len(images)
        size = next((b for b in self.runner.buckets or () if b >= count), count)
        if size == count:
            return self.runner.infer(images)
        padded = np.zeros((size, *images.shape[1:]), images.dtype)
        padded[:count] = images
        return {name: value[:count] for name, value in self.runner.infer(padded).items()}

    def close(self) -> None:
        """Close the runner."""
        self.runner.close()


def _joined(parts: Sequence[tuple[Float32, Float32]]) -> tuple[Float32, Float32]:
    """Keypoints and scores of batches, one after the other."""
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
