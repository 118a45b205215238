"""How far an artefact's poses are from the reference's, on the same people.

Both found poses in the same boxes (:mod:`edgepose.bench.accuracy`). Three things are said: by how
much AP (or PCKh) differs, with a paired bootstrap over photos; how far joints moved, in pixels of
the photo; and who moved most, as pictures. A joint counts for the second where the reference is
sure of it: where a model finds nothing, rounding decides what it says.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgepose.bench.accuracy import Measured
from edgepose.bench.gallery import draw_pair, write_pair
from edgepose.crops import box_affines
from edgepose.errors import DatasetError
from edgepose.evaluate import (
    CocoTask,
    Difference,
    PckhTask,
    Picture,
    Predicted,
    Predictions,
    oks,
    paired_ap_difference,
    paired_pckh_difference,
    ranking_threshold,
)
from edgepose.evaluate.oks import AREA_OF_BOX, judging_sigmas
from edgepose.evaluate.predict import Progress, read_as_annotated
from edgepose.poses import Float32, Poses
from edgepose.spec import KeypointSet

__all__ = ["parity_section"]

_WORST = 12
_MOVED_PX = 1.0

Array = npt.NDArray[Any]


def parity_section(
    name: str,
    reference: Measured,
    contender: Measured,
    *,
    label: str = "",
    pictures: Path | None = None,
    draws: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The record's section; people that only one of them looked for are left out.

    Unavailable where the reference is sure of no joint (random weights, say): there is nothing that
    the contender could be held to.

    Args:
        name: What the reference is called.
        reference: What the contender is held to.
        contender: Of the same evaluation.
        label: What the contender is called, for the pictures' names.
        pictures: Folder for pictures of those who moved most, or None for none.
        draws: Bootstrap draws.
        seed: Of the draws.
        progress: Called with (steps done, steps in all).

    Raises:
        DatasetError: They looked for other people, or have no joint in common.
        OutputError: A picture cannot be written.
        MissingDependency: pycocotools is not installed (COCO only).
    """
    pairs = list(_pairs(reference, contender))
    if not all(pair.counted.any() for pair in pairs):
        limit = pairs[0].threshold
        return {"unavailable": f"{name} scores no joint above {limit:g}: it found nobody"}
    rows = []
    for done, pair in enumerate(pairs, 1):
        rows.append(
            {
                "flip": pair.flip,
                "set": contender.task.name,
                "persons": len(pair.boxes),
                **_difference(reference, contender, pair, draws, seed),
                "shift_px": _shift(pair),
                "oks_between": _oks_between(pair),
            }
        )
        if progress is not None:
            progress(done, len(pairs))
    return {
        "reference": name,
        "by_protocol": rows,
        "worst": _worst(reference, contender, pairs[0], label, pictures),
    }


@dataclass(frozen=True)
class _Pair:
    """One protocol: N people that both looked for, K joints that both have.

    Attributes:
        flip: The flip test.
        sides: What each found, all people and joints.
        rows: Of each side, the people.
        joints: Of each side, the columns.
        names: K joint names.
        sigmas: Their OKS sigmas.
        boxes: (N, 4).
        shift: (N, K) distance in pixels of the photo.
        input_px: (N,) pixels of the reference's input in one of the photo's.
        counted: (N, K) joints that the reference is sure of.
        threshold: Above which score it is.
        similar: (N,) OKS of the contender with the reference; nan where no joint counts.
    """

    flip: bool
    sides: tuple[Predicted, Predicted]
    rows: tuple[Array, Array]
    joints: tuple[Array, Array]
    names: tuple[str, ...]
    sigmas: tuple[float, ...]
    boxes: Float32
    shift: Array
    input_px: Array
    counted: Array
    threshold: float
    similar: Array


def _pairs(reference: Measured, contender: Measured) -> Iterator[_Pair]:
    people = (reference.task.people, contender.task.people)
    # The photo and which of its boxes: one number for both.
    keys = [side.image_ids * (1 << 24) + side.numbers for side in people]
    _, first, second = np.intersect1d(keys[0], keys[1], return_indices=True)
    ours, theirs = reference.spec.keypoints, contender.spec.keypoints
    names = tuple(name for name in ours.names if name in theirs.names)
    flips = {found.flip for found in reference.predicted}
    both = [found for found in contender.predicted if found.flip in flips]
    if not len(first) or not names or not both:
        raise DatasetError(
            "the two artefacts cannot be compared",
            f"{len(first)} people, {len(names)} joints and {len(both)} protocols are the same",
            "measure both with the same options",
        )
    joints = (
        np.array([ours.names.index(n) for n in names]),
        np.array([theirs.names.index(n) for n in names]),
    )
    judged = judging_sigmas(ours)
    sigmas = tuple(judged[i] for i in joints[0])
    boxes = people[0].boxes[first]
    spec = reference.spec
    threshold = ranking_threshold(spec.output)
    areas = (boxes[:, 2:] - boxes[:, :2]).astype(np.float64).prod(1) * AREA_OF_BOX
    for found in both:
        base = next(side for side in reference.predicted if side.flip == found.flip)
        before = base.keypoints[first][:, joints[0]].astype(np.float64)
        after = found.keypoints[second][:, joints[1]].astype(np.float64)
        counted = base.scores[first][:, joints[0]] > threshold
        known = np.concatenate([before, counted[..., None]], axis=-1)  # (N, K, 3)
        yield _Pair(
            flip=found.flip,
            sides=(base, found),
            rows=(first, second),
            joints=joints,
            names=names,
            sigmas=sigmas,
            boxes=boxes,
            shift=np.linalg.norm(after - before, axis=-1),
            input_px=box_affines(boxes, spec.input_size, spec.padding)[:, 0, 0],
            counted=counted,
            threshold=threshold,
            similar=oks(after, known, areas, sigmas),
        )


def _difference(
    reference: Measured, contender: Measured, pair: _Pair, draws: int, seed: int
) -> dict[str, Any]:
    """``ap_difference`` for COCO, ``pckh_difference`` for MPII."""
    ours, theirs = reference.task, contender.task
    if isinstance(ours, CocoTask) and isinstance(theirs, CocoTask):
        photos = {i.id for i in ours.dataset.images} & {i.id for i in theirs.dataset.images}
        empty = {i.id for i in ours.dataset.empty} & {i.id for i in theirs.dataset.empty}
        found = paired_ap_difference(
            ours.dataset.where(lambda image: image.id in photos).truth,
            _within(ours.ranked(pair.sides[0], reference.spec), photos | empty),
            _within(theirs.ranked(pair.sides[1], contender.spec), photos | empty),
            judging_sigmas(reference.spec.keypoints),
            draws=draws,
            seed=seed,
        )
        return {"ap_difference": found.to_dict()}
    if isinstance(ours, PckhTask) and isinstance(theirs, PckhTask):
        both = _pckh_difference(ours, theirs, pair, draws, seed)
        return {"ap_difference": None, "pckh_difference": both.to_dict()}
    raise DatasetError(
        "the two artefacts cannot be compared", "one was measured on COCO, the other on MPII"
    )


def _pckh_difference(
    ours: PckhTask, theirs: PckhTask, pair: _Pair, draws: int, seed: int
) -> Difference:
    """Over the counted joints that both have."""
    there = list(theirs.columns.values())
    columns = [
        (mine, there.index(joint))
        for mine, joint in enumerate(ours.columns.values())
        if joint in there and ours.counted[mine]
    ]
    left = ours.distances(pair.sides[0])[pair.rows[0]][:, [a for a, _ in columns]]
    right = theirs.distances(pair.sides[1])[pair.rows[1]][:, [b for _, b in columns]]
    photos = ours.people.image_ids[pair.rows[0]]
    return paired_pckh_difference(left, right, photos, draws=draws, seed=seed)


def _within(ranked: Predictions, photos: set[int]) -> Predictions:
    kept = np.isin(ranked.image_ids, list(photos))
    return Predictions(ranked.image_ids[kept], ranked.keypoints[kept], ranked.scores[kept])


def _shift(pair: _Pair) -> dict[str, Any]:
    moved = pair.shift[pair.counted]
    rule = f"that the reference scores above {pair.threshold:g}"
    in_input = (pair.shift * pair.input_px[:, None])[pair.counted]
    median, p90, p99 = np.percentile(moved, [50, 90, 99])
    return {
        "unit": "image px",
        "counted": f"{len(moved)} of {pair.counted.size} joints, those {rule}",
        "median": _rounded(median),
        "p90": _rounded(p90),
        "p99": _rounded(p99),
        "max": _rounded(moved.max()),
        "share_over_1px_input": round(float((in_input > _MOVED_PX).mean()), 6),
        "per_joint": [
            {"joint": name} | _quantiles(pair.shift[pair.counted[:, k], k])
            for k, name in enumerate(pair.names)
        ],
    }


def _quantiles(moved: Array) -> dict[str, float | None]:
    if not len(moved):
        return {"median": None, "p95": None}
    median, p95 = np.percentile(moved, [50, 95])
    return {"median": _rounded(median), "p95": _rounded(p95)}


def _oks_between(pair: _Pair) -> dict[str, float]:
    known = pair.similar[~np.isnan(pair.similar)]
    return {
        "mean": round(float(known.mean()), 6),
        "p1": round(float(np.percentile(known, 1)), 6),
        "min": round(float(known.min()), 6),
    }


def _worst(
    reference: Measured, contender: Measured, pair: _Pair, label: str, folder: Path | None
) -> list[dict[str, Any]]:
    """Those whose poses differ most; nobody whose joints all stay within a pixel of the input."""
    moved = np.where(pair.counted, pair.shift, 0).max(1)
    order = np.argsort(pair.similar, kind="stable")  # nan is last
    chosen = [
        int(row)
        for row in order
        if not math.isnan(pair.similar[row]) and moved[row] * pair.input_px[row] > _MOVED_PX
    ][:_WORST]
    people = reference.task.people
    pictures = {picture.id: picture for picture in people.pictures}
    rows = []
    for place, row in enumerate(chosen, 1):
        mine = pair.rows[0][row]
        picture, number = pictures[int(people.image_ids[mine])], int(people.numbers[mine])
        file = None
        if folder is not None:
            file = f"{_slug(label)}-worst-{place:02d}-{picture.path.stem}-{number}.jpg"
            _write_picture(folder / file, picture, reference, contender, pair, row)
        rows.append(
            {
                "image": picture.path.name,
                "person": number,
                "shift_px": _rounded(moved[row]),
                "oks": round(float(pair.similar[row]), 6),
                "picture": file,
            }
        )
    return rows


def _write_picture(
    path: Path,
    picture: Picture,
    reference: Measured,
    contender: Measured,
    pair: _Pair,
    row: int,
) -> None:
    box = pair.boxes[row]
    # One side's joints in the other's order, where the two models have other joints.
    sides = [
        Poses(
            side.keypoints[rows[row], joints][None],
            side.scores[rows[row], joints][None],
            box[None],
            np.ones(1, np.float32),
        )
        for side, rows, joints in zip(pair.sides, pair.rows, pair.joints, strict=True)
    ]
    drawn = draw_pair(
        read_as_annotated(picture),
        box,
        (sides[0], sides[1]),
        _annotated(reference, pair, row),
        _subset(reference, pair.joints[0]),
        pair.threshold,
    )
    write_pair(path, drawn)


def _annotated(reference: Measured, pair: _Pair, row: int) -> Array:
    """(K, 3) where the person's joints are annotated."""
    every = reference.task.annotated(len(reference.spec.keypoints))
    joints: Array = every[pair.rows[0][row]][pair.joints[0]]
    return joints


def _subset(reference: Measured, joints: Array) -> KeypointSet:
    """Names and limbs of some joints of the reference's."""
    ours = reference.spec.keypoints
    place = {int(joint): index for index, joint in enumerate(joints)}

    def kept(links: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        return tuple((place[a], place[b]) for a, b in links if a in place and b in place)

    return KeypointSet(
        names=tuple(ours.names[i] for i in place),
        flip_pairs=kept(ours.flip_pairs),
        skeleton=kept(ours.skeleton),
        sigmas=tuple(ours.sigmas[i] for i in place),
    )


def _slug(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", label).strip("-.") or "artefact"


def _rounded(value: Any) -> float:
    return round(float(value), 4)
