"""From boxes in photos to poses in those photos: the part of an evaluation that takes time.

Crops of neighbouring photos share a batch. While the net runs, a thread reads the next photos. With
the flip test off and on, the net runs on every crop once as it is and once mirrored, not three
times. What was found does not depend on how the people were batched, beyond the runtime's own
rounding, so that an evaluation that was stopped can go on where it was.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgepose.crops import box_affines, unapply_affines, warp_crops
from edgepose.errors import DatasetError, OutputError
from edgepose.estimator import Estimator
from edgepose.evaluate.people import People, Picture
from edgepose.evaluate.store import PredictionStore
from edgepose.images import read_image
from edgepose.poses import Float32, UInt8
from edgepose.spec import PoseSpec

__all__ = ["Predicted", "Progress", "predict", "read_as_annotated"]

Float64 = npt.NDArray[np.float64]
Progress = Callable[[int, int], None]
# Crops, and their affines back to the photo.
Cut = tuple[UInt8, Float64]

# Photos cut before the net asks for them: about two batches' worth. They are held as crops.
_AHEAD = 48


@dataclass(frozen=True)
class Predicted:
    """The poses an artefact found, one for each box.

    Attributes:
        people: The boxes.
        flip: Whether outputs were averaged with those of the mirrored crop.
        keypoints: (N, K, 2) x and y in the photo's pixels.
        scores: (N, K) keypoint scores.
    """

    people: People
    flip: bool
    keypoints: Float32
    scores: Float32


def predict(
    estimator: Estimator,
    people: People,
    *,
    flips: Sequence[bool] = (False,),
    batch: int | None = None,
    progress: Progress | None = None,
    store: PredictionStore | None = None,
) -> list[Predicted]:
    """Poses of all people, by one or more protocols.

    Args:
        estimator: The loaded artefact.
        people: Boxes in photos.
        flips: Flip test off, on, or both.
        batch: Persons in one call; by default what the runner takes, at most 32.
        progress: Called with (persons done, persons in all) after each batch, and once before the
            first if an earlier run left some done.
        store: Where what was found is kept as it comes, and taken up from.

    Returns:
        One result for each of ``flips``.

    Raises:
        DatasetError: A photo has another size than was annotated.
        ImageError: A photo is absent or damaged.
        OutputError: The store cannot be written.
    """
    size = batch or _batch_of(estimator)
    count, joints = len(people), len(estimator.spec.keypoints)
    keypoints = np.zeros((len(flips), count, joints, 2), np.float32)
    scores = np.zeros((len(flips), count, joints), np.float32)
    done = 0 if store is None else store.resume(keypoints, scores)
    if done and progress is not None:
        progress(done, count)
    try:
        # Closed at once if something fails: its thread must not outlive the evaluation.
        with contextlib.closing(_batches(estimator.spec, people, done, size)) as batches:
            for crops, affines in batches:
                part = slice(done, done + len(crops))
                for turn, found in enumerate(estimator.infer_protocols(crops, flips)):
                    keypoints[turn, part] = unapply_affines(found[0], affines)
                    scores[turn, part] = found[1]
                done += len(crops)
                if store is not None:
                    store.keep_if_due(done, keypoints, scores)
                if progress is not None:
                    progress(done, count)
    except BaseException:
        if store is not None and done:
            # What stopped it is the news, not that the disk is full as well.
            with contextlib.suppress(OutputError):
                store.keep(done, keypoints, scores)
        raise
    return [
        Predicted(people, flip, keypoints[turn], scores[turn]) for turn, flip in enumerate(flips)
    ]


def read_as_annotated(picture: Picture) -> UInt8:
    """The photo's pixels as stored, which is what is annotated (EXIF turns are ignored).

    Raises:
        DatasetError: It has another size than was annotated.
        ImageError: It is absent or damaged.
    """
    image = read_image(picture.path, upright=False)
    height, width = image.shape[:2]
    if picture.size is not None and (width, height) != picture.size:
        raise DatasetError(
            f"{picture.path} is not the photo that was annotated",
            f"it is {width}x{height}, annotated were {picture.size[0]}x{picture.size[1]} pixels",
        )
    return image


def _batch_of(estimator: Estimator) -> int:
    largest = max(estimator.runner.buckets or (32,))
    return min(estimator.runner.max_batch, largest)


def _batches(spec: PoseSpec, people: People, start: int, size: int) -> Generator[Cut, None, None]:
    """Crops of ``size`` persons at a time (fewer at the end), from person ``start`` on."""
    crops: list[UInt8] = []
    affines: list[Float64] = []
    with contextlib.closing(_cut_ahead(spec, people, start)) as photos:
        for cut in photos:
            crops.extend(cut[0])
            affines.extend(cut[1])
            while len(crops) >= size:
                yield np.stack(crops[:size]), np.stack(affines[:size])
                del crops[:size], affines[:size]
    if crops:
        yield np.stack(crops), np.stack(affines)


def _cut_ahead(spec: PoseSpec, people: People, start: int) -> Generator[Cut, None, None]:
    """The crops of each photo in turn, read by a thread ahead of who asks."""
    waiting: deque[Future[Cut]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="photos") as pool:
        try:
            for picture, boxes in _boxes_by_picture(people, start):
                waiting.append(pool.submit(_cut, picture, boxes, spec))
                if len(waiting) > _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _boxes_by_picture(people: People, start: int) -> Iterator[tuple[Picture, Float32]]:
    ids = people.image_ids
    for picture in people.pictures:
        first, last = np.searchsorted(ids, [picture.id, picture.id + 1])
        boxes = people.boxes[max(int(first), start) : last]
        if len(boxes):
            yield picture, boxes


def _cut(picture: Picture, boxes: Float32, spec: PoseSpec) -> Cut:
    affines = box_affines(boxes, spec.input_size, spec.padding)
    crops = warp_crops(read_as_annotated(picture), affines, spec.input_size)
    return crops, affines
