"""How sure a difference of two APs is: photos drawn anew, the same ones for both artefacts.

AP is no mean over photos: poses of all photos are ranked together. So each draw ranks the poses of
its photos again. Which pose matches which person is found once, by the official evaluator, since it
is decided within a photo; what is done on every draw is what ``COCOeval.accumulate`` does, in
arrays, and equals it to the last digit.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgepose.evaluate.metrics import GroundTruth, Predictions, official_evaluator

__all__ = ["Difference", "PhotoMatches", "paired_ap_difference", "photo_matches"]

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

# As pycocotools makes them: its points differ from k / 100 in the last digit.
_RECALLS = np.linspace(0.0, 1.0, 101)
_THRESHOLDS = 10


@dataclass(frozen=True)
class Difference:
    """A difference with its uncertainty.

    Attributes:
        value: Contender less reference, in points; negative is a loss.
        low: Lower end of the 95 % bootstrap interval.
        high: Upper end.
        draws: Bootstrap draws.
        seed: Of the draws.
    """

    value: float
    low: float
    high: float
    draws: int
    seed: int

    def to_dict(self) -> dict[str, object]:
        """JSON-ready."""
        return {
            "value": round(self.value, 4),
            "interval_95": [round(self.low, 4), round(self.high, 4)],
            "draws": self.draws,
            "seed": self.seed,
        }


@dataclass(frozen=True)
class PhotoMatches:
    """What decides AP over all sizes, photo by photo: D poses in P photos, T OKS thresholds.

    Attributes:
        scores: (D,) rank scores, photo by photo, best first within each.
        hits: (T, D) the pose found a person that counts.
        misses: (T, D) it found nobody; what is neither found a person that does not count.
        starts: (P + 1,) where each photo's poses begin.
        people: (P,) persons that count.
    """

    scores: Float64
    hits: Bool
    misses: Bool
    starts: Int64
    people: Int64

    def average(self, photos: Int64 | None = None) -> tuple[float, float]:
        """AP and AR over photos, in percent; nan if nobody counts in them.

        Args:
            photos: (n,) indices of photos, with repetitions; each as often as it is named. All by
                default.
        """
        if photos is None:
            photos = np.arange(len(self.people))
        count = int(self.people[photos].sum())
        if count == 0:
            return np.nan, np.nan
        rows = self._poses_of(photos)
        # Stable, as in pycocotools: equal scores stay in the order of the photos.
        rows = rows[np.argsort(-self.scores[rows], kind="stable")]
        if not len(rows):
            return 0.0, 0.0
        found = np.cumsum(self.hits[:, rows], axis=1).astype(float)  # (T, n)
        wrong = np.cumsum(self.misses[:, rows], axis=1).astype(float)
        recall = found / count
        precision = found / (wrong + found + np.spacing(1))
        # The best precision at this recall or any higher one.
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        padded = np.concatenate([best, np.zeros((len(best), 1))], axis=1)
        points = np.stack(
            [row[np.searchsorted(r, _RECALLS)] for row, r in zip(padded, recall, strict=True)]
        )  # (T, 101)
        return 100 * float(points.ravel().mean()), 100 * float(recall[:, -1].mean())

    def _poses_of(self, photos: Int64) -> npt.NDArray[np.intp]:
        """Rows of the poses of these photos, one photo after the other."""
        first = self.starts[photos]
        counts = self.starts[photos + 1] - first
        ends = np.cumsum(counts)
        total = int(ends[-1]) if len(ends) else 0
        rows: npt.NDArray[np.intp] = np.arange(total) + np.repeat(first - (ends - counts), counts)
        return rows


def photo_matches(
    truth: GroundTruth, predictions: Predictions, sigmas: Sequence[float], photos: Int64
) -> PhotoMatches:
    """Let the official evaluator match poses with people.

    Args:
        truth: All annotated persons of the photos.
        predictions: Poses in them.
        sigmas: K OKS sigmas.
        photos: (P,) ids of the photos, ascending, without repetitions; all that are named above.

    Raises:
        MissingDependency: pycocotools is not installed.
        ValueError: Numbers of joints differ, a pose is not finite, or a photo is not listed.
    """
    if not np.isin(np.concatenate([truth.image_ids, predictions.image_ids]), photos).all():
        raise ValueError("a person or a pose is in a photo that is not listed")
    if not len(predictions.image_ids):
        there = truth.image_ids[truth.scored]
        people = np.searchsorted(np.sort(there), [photos, photos + 1])
        none = np.zeros((_THRESHOLDS, 0), np.bool_)
        starts = np.zeros(len(photos) + 1, np.int64)
        return PhotoMatches(np.zeros(0), none, none, starts, people[1] - people[0])
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator = official_evaluator(truth, predictions, sigmas)
        evaluator.params.imgIds = photos.tolist()
        evaluator.params.areaRng = evaluator.params.areaRng[:1]  # all sizes
        evaluator.params.areaRngLbl = evaluator.params.areaRngLbl[:1]
        evaluator.evaluate()
    # None for a photo with neither a person nor a pose.
    found = [each for each in evaluator.evalImgs if each is not None]
    place = {int(each["image_id"]): each for each in found}
    ids = photos.tolist()
    poses = [len(place[i]["dtScores"]) if i in place else 0 for i in ids]
    counted = [int((place[i]["gtIgnore"] == 0).sum()) if i in place else 0 for i in ids]
    matched = np.concatenate([each["dtMatches"] for each in found], axis=1) > 0
    ignored = np.concatenate([each["dtIgnore"] for each in found], axis=1).astype(bool)
    return PhotoMatches(
        np.concatenate([each["dtScores"] for each in found]),
        matched & ~ignored,
        ~matched & ~ignored,
        np.concatenate([[0], np.cumsum(poses)]).astype(np.int64),
        np.array(counted, np.int64),
    )


def paired_ap_difference(
    truth: GroundTruth,
    reference: Predictions,
    contender: Predictions,
    sigmas: Sequence[float],
    *,
    draws: int = 1000,
    seed: int = 0,
) -> Difference:
    """AP of the contender less that of the reference, with a paired percentile bootstrap.

    Whole photos are drawn, with repetition, since the people of one photo are not independent.

    Args:
        truth: All annotated persons of the photos.
        reference: Poses of the one.
        contender: Poses of the other, in the same photos.
        sigmas: K OKS sigmas.
        draws: Bootstrap draws.
        seed: Of the draws.

    Raises:
        MissingDependency: pycocotools is not installed.
        ValueError: Numbers of joints differ, a pose is not finite, or nobody counts.
    """
    photos = np.unique(np.concatenate([truth.image_ids, reference.image_ids, contender.image_ids]))
    sides = [photo_matches(truth, side, sigmas, photos) for side in (contender, reference)]

    def difference(chosen: Int64 | None) -> float:
        return sides[0].average(chosen)[0] - sides[1].average(chosen)[0]

    value = difference(None)
    if np.isnan(value):
        raise ValueError("nobody who counts is annotated")
    rng = np.random.default_rng(seed)
    drawn = [difference(rng.integers(0, len(photos), len(photos))) for _ in range(draws)]
    # A draw of photos in which nobody counts has no AP (there may be such in tiny sets).
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Difference(value, float(low), float(high), draws, seed)
