"""PCKh: the share of joints that lie within a part of the head's size of where they belong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgepose.errors import DatasetError
from edgepose.evaluate.bootstrap import Difference
from edgepose.evaluate.mpii import MPII_JOINTS, MpiiPoses
from edgepose.evaluate.people import People, count_of_photos
from edgepose.evaluate.predict import Predicted
from edgepose.spec import KeypointSet, PoseSpec

__all__ = ["PckhResult", "PckhTask", "paired_pckh_difference", "pckh_task"]

Float64 = npt.NDArray[np.float64]

THRESHOLDS = (0.5, 0.1)
# They count neither in the published mean nor here: no limb ends in them.
_UNCOUNTED = ("pelvis", "thorax")


@dataclass(frozen=True)
class PckhResult:
    """PCKh of one artefact.

    Attributes:
        pckh: Threshold -> percent, over all counted joints of all persons together.
        per_joint: Joint -> percent at 0.5, or None where it is never annotated.
        name: What was measured on.
        persons: Persons.
        images: Photos.
        flip: Whether outputs were averaged with those of the mirrored crop.
        counted: Joints that make up the mean.
        sha256: Digest of annotations and head boxes.
        boxes: Who drew the boxes.
    """

    pckh: dict[float, float]
    per_joint: dict[str, float | None]
    name: str
    persons: int
    images: int
    flip: bool
    counted: tuple[str, ...]
    sha256: str
    boxes: str

    @property
    def label(self) -> str:
        """How the figure has to be called wherever it is quoted."""
        whole = len(MPII_JOINTS) - len(_UNCOUNTED)
        part = "" if len(self.counted) == whole else f", {len(self.counted)} of {whole} joints"
        flip = "on" if self.flip else "off"
        return f"PCKh@0.5 on {self.name} ({self.persons} persons{part}, flip {flip})"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "label": self.label,
            "metrics": {
                **{f"pckh@{limit:g}": round(value, 4) for limit, value in self.pckh.items()},
                "per_joint": {
                    name: None if value is None else round(value, 4)
                    for name, value in self.per_joint.items()
                },
            },
            "protocol": {
                "metric": "PCKh",
                "set": self.name,
                "persons": self.persons,
                "images": self.images,
                "boxes": self.boxes,
                "flip": self.flip,
                "normalised": "by 60 % of the head box's diagonal",
                "joints": list(self.counted),
                "annotations_sha256": self.sha256,
                "note": None,
            },
            "joint_similarity": [],
        }


@dataclass(frozen=True)
class PckhTask:
    """Whom to find in which photos, and how to judge what was found.

    Attributes:
        poses: The annotations.
        people: The boxes to look in.
        columns: Index of a joint of the model -> index of the same joint of MPII.
    """

    poses: MpiiPoses
    people: People
    columns: dict[int, int]

    @property
    def name(self) -> str:
        """What is measured on, as its figures call it."""
        if self.poses.limited is None:
            return self.poses.name
        return f"the first {count_of_photos(self.poses.limited)} of {self.poses.name}"

    def annotated(self, joints: int) -> Float64:
        """(N, joints, 3) annotations of the people, in the order of the model's joints."""
        ours, theirs = list(self.columns), list(self.columns.values())
        table = np.zeros((len(self.poses), joints, 3))
        table[:, ours, :2] = self.poses.joints[:, theirs]
        table[:, ours, 2] = self.poses.visible[:, theirs]
        return table

    def distances(self, predicted: Predicted) -> Float64:
        """(N, J) distances in units of the head's size, nan where a joint is not annotated.

        Columns follow ``columns``.
        """
        ours, theirs = list(self.columns), list(self.columns.values())
        gaps = predicted.keypoints[:, ours].astype(np.float64) - self.poses.joints[:, theirs]
        far = np.linalg.norm(gaps, axis=-1) / self.poses.head_sizes[:, None]
        return np.where(self.poses.visible[:, theirs], far, np.nan)

    @property
    def counted(self) -> npt.NDArray[np.bool_]:
        """(J,) which of the columns make up the mean."""
        return np.array([MPII_JOINTS[i] not in _UNCOUNTED for i in self.columns.values()])

    def judge(self, predicted: Predicted) -> PckhResult:
        """PCKh and what belongs to it."""
        far = self.distances(predicted)
        names = [MPII_JOINTS[i] for i in self.columns.values()]
        known = ~np.isnan(far)
        hits = (far <= THRESHOLDS[0]).sum(0)  # nan is no hit
        return PckhResult(
            {limit: _share(far[:, self.counted], limit) for limit in THRESHOLDS},
            {
                name: 100 * float(hits[i] / known[:, i].sum()) if known[:, i].any() else None
                for i, name in enumerate(names)
            },
            self.name,
            len(self.poses),
            len(self.poses.pictures),
            predicted.flip,
            tuple(name for name in names if name not in _UNCOUNTED),
            self.poses.sha256,
            self.people.source,
        )


def pckh_task(poses: MpiiPoses, spec: PoseSpec, limit: int | None = None) -> PckhTask:
    """What to do for a model of that spec.

    Args:
        poses: Photos and annotations.
        spec: The model's spec: MPII's 16 joints, or others of which some are the same.
        limit: Only so many photos, the first.

    Raises:
        DatasetError: The model has no joint of MPII's, or none it has is annotated.
    """
    if limit is not None:
        poses = poses.first(limit)
    columns = _shared(spec.keypoints)
    if not any(MPII_JOINTS[i] not in _UNCOUNTED for i in columns.values()):
        raise DatasetError(
            f"{spec.model} cannot be measured on {poses.name}",
            f"none of its joints ({', '.join(spec.keypoints.names[:4])}, ...) is one of MPII's "
            f"({', '.join(MPII_JOINTS[:4])}, ...)",
            "name the joints in the spec as MPII's are named here",
        )
    task = PckhTask(poses, poses.people(spec.input_size), columns)
    if not poses.visible[:, list(columns.values())][:, task.counted].any():
        raise DatasetError(f"{poses.name} annotates nobody", "no joint is visible")
    return task


def paired_pckh_difference(
    reference: Float64,
    contender: Float64,
    image_ids: npt.NDArray[np.int64],
    *,
    draws: int = 1000,
    seed: int = 0,
) -> Difference:
    """PCKh@0.5 of the contender less that of the reference, photos drawn anew, in points.

    Args:
        reference: (N, J) distances in head sizes, nan where not annotated.
        contender: Likewise, of the same joints.
        image_ids: (N,) photo of each person.
        draws: Bootstrap draws.
        seed: Of the draws.
    """
    photos = np.unique(image_ids, return_inverse=True)[1]
    count = int(photos.max()) + 1

    def by_photo(values: npt.NDArray[Any]) -> Float64:
        return np.bincount(photos, values.sum(1), count).astype(np.float64)

    gained = by_photo((contender <= THRESHOLDS[0]).astype(int) - (reference <= THRESHOLDS[0]))
    known = by_photo(~np.isnan(reference))
    picks = np.random.default_rng(seed).integers(0, count, (draws, count))
    total = known[picks].sum(1)
    drawn = 100 * gained[picks].sum(1)[total > 0] / total[total > 0]
    low, high = np.percentile(drawn, [2.5, 97.5])
    value = 100 * float(gained.sum() / known.sum())
    return Difference(value, float(low), float(high), draws, seed)


def _share(far: Float64, limit: float) -> float:
    return 100 * float((far <= limit).sum() / (~np.isnan(far)).sum())


def _shared(keypoints: KeypointSet) -> dict[int, int]:
    """Joints that the model and MPII both have, by name."""
    ours: Sequence[str] = keypoints.names
    return {ours.index(name): i for i, name in enumerate(MPII_JOINTS) if name in ours}
