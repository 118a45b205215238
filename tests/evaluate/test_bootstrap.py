"""AP on photos drawn anew, against pycocotools on photos that really are there several times."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from edgepose.evaluate import (
    CocoKeypoints,
    GroundTruth,
    Predictions,
    coco_metrics,
    paired_ap_difference,
)
from edgepose.evaluate.bootstrap import photo_matches
from edgepose.spec import COCO_KEYPOINTS

SIGMAS = COCO_KEYPOINTS.sigmas
PHOTOS = 25


def scene(seed: int = 0) -> tuple[GroundTruth, Predictions]:
    """Photos with crowds, persons that don't count, none at all, doubles and equal scores."""
    rng = np.random.default_rng(seed)
    people = np.sort(rng.integers(1, PHOTOS - 1, 60))  # the last photos hold nobody
    keypoints = np.full((60, 17, 3), 2.0)
    keypoints[..., :2] = rng.uniform(0, 100, (60, 17, 2))
    keypoints[rng.uniform(0, 1, (60, 17)) < 0.3, 2] = 0
    keypoints[5] = keypoints[17] = 0
    boxes = np.tile([0.0, 0.0, 100.0, 100.0], (60, 1))
    crowd = np.zeros(60, bool)
    crowd[[3, 30]] = True
    truth = GroundTruth(people, keypoints, boxes, rng.uniform(500, 30_000, 60), crowd)
    rows = rng.integers(0, 60, 110)
    noise = rng.normal(0, 6, (110, 17, 2)) * rng.uniform(0, 2, (110, 1, 1))
    images = people[rows]
    images[-4:] = PHOTOS  # where nobody is
    poses = keypoints[rows, :, :2] + noise
    return truth, Predictions(images, poses, rng.uniform(0, 1, 110).round(1))


def copied(
    truth: GroundTruth, found: Predictions, picks: list[int]
) -> tuple[GroundTruth, Predictions]:
    """A set in which the n-th photo is a copy of photo ``picks[n]``."""
    people = [np.flatnonzero(truth.image_ids == photo) for photo in picks]
    poses = [np.flatnonzero(found.image_ids == photo) for photo in picks]
    part = truth.take(np.concatenate(people))
    ids = np.arange(1, len(picks) + 1)
    chosen = np.concatenate(poses)
    return (
        GroundTruth(
            ids.repeat([len(p) for p in people]),
            part.keypoints,
            part.boxes,
            part.areas,
            part.crowd,
        ),
        Predictions(
            ids.repeat([len(p) for p in poses]), found.keypoints[chosen], found.scores[chosen]
        ),
    )


@pytest.mark.parametrize("seed", range(4))
def test_without_drawing_it_is_pycocotools_to_the_last_digit(seed: int) -> None:
    truth, found = scene(seed)
    official = coco_metrics(truth, found, SIGMAS)
    ids = np.arange(1, PHOTOS + 1)
    assert photo_matches(truth, found, SIGMAS, ids).average() == (official.ap, official.ar)
    assert 5 < official.ap < 95


@pytest.mark.parametrize("seed", range(12))
def test_drawn_anew_it_is_pycocotools_on_copies_to_the_last_digit(seed: int) -> None:
    truth, found = scene(seed)
    ids = np.arange(1, PHOTOS + 1)
    matches = photo_matches(truth, found, SIGMAS, ids)
    picks = np.random.default_rng(seed).integers(0, PHOTOS, PHOTOS)
    assert len(set(picks)) < PHOTOS
    official = coco_metrics(*copied(truth, found, ids[picks].tolist()), SIGMAS)
    assert matches.average(picks) == (official.ap, official.ar)


def test_on_real_people(shared: Path) -> None:
    truth = CocoKeypoints.load(shared / "data" / "coco").truth
    rng = np.random.default_rng(0)
    spread = 0.08 * np.sqrt(truth.areas) * rng.uniform(0, 1, len(truth))
    points = (
        truth.keypoints[..., :2] + rng.normal(0, 1, (len(truth), 17, 2)) * spread[:, None, None]
    )
    found = Predictions(truth.image_ids, points, rng.uniform(0, 1, len(truth)))
    ids = np.unique(truth.image_ids)
    matches = photo_matches(truth, found, SIGMAS, ids)
    picks = rng.integers(0, len(ids), len(ids))
    for chosen in (np.arange(len(ids)), picks):
        official = coco_metrics(*copied(truth, found, ids[chosen].tolist()), SIGMAS)
        assert matches.average(chosen) == (official.ap, official.ar)


def test_photos_without_people_or_poses() -> None:
    truth, found = scene()
    ids = np.arange(1, PHOTOS + 1)
    matches = photo_matches(truth, found, SIGMAS, ids)
    assert all(math.isnan(v) for v in matches.average(np.array([PHOTOS - 1])))  # nobody there
    nothing = Predictions(ids[:0], np.zeros((0, 17, 2)), np.zeros(0))
    blind = photo_matches(truth, nothing, SIGMAS, ids)
    assert blind.average() == (0, 0)
    assert blind.people.tolist() == matches.people.tolist()
    assert matches.people.sum() == truth.scored.sum()
    with pytest.raises(ValueError, match="not listed"):
        photo_matches(truth, found, SIGMAS, ids[:-1])


def test_the_same_poses_differ_by_nothing_however_drawn() -> None:
    truth, found = scene()
    same = paired_ap_difference(truth, found, found, SIGMAS, draws=50)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_a_difference_is_that_of_the_aps_and_its_interval_holds_it() -> None:
    truth, found = scene()
    rng = np.random.default_rng(1)
    worse = Predictions(
        found.image_ids, found.keypoints + rng.normal(0, 8, found.keypoints.shape), found.scores
    )
    loss = paired_ap_difference(truth, found, worse, SIGMAS, draws=300)
    expected = coco_metrics(truth, worse, SIGMAS).ap - coco_metrics(truth, found, SIGMAS).ap
    assert loss.value == expected
    assert loss.low < loss.value < loss.high < 0
    gain = paired_ap_difference(truth, worse, found, SIGMAS, draws=300)
    mirrored = [-loss.high, -loss.value, -loss.low]
    assert [gain.low, gain.value, gain.high] == pytest.approx(mirrored)
    assert paired_ap_difference(truth, found, worse, SIGMAS, draws=300) == loss
    assert loss.to_dict()["interval_95"] == [round(loss.low, 4), round(loss.high, 4)]


def test_the_interval_is_as_wide_as_chance_is() -> None:
    """One person a photo, found or missed: a share, whose spread theory knows.

    The contender misses the worst ranked people, so that AP is their share, and its standard error
    that of a mean of n yes-or-noes: sqrt(p (1 - p) / n).
    """
    count, share = 400, 0.8
    rng = np.random.default_rng(2)
    keypoints = np.full((count, 17, 3), 2.0)
    keypoints[..., :2] = rng.uniform(0, 100, (count, 17, 2))
    ids = np.arange(1, count + 1)
    truth = GroundTruth(
        ids, keypoints, np.zeros((count, 4)), np.full(count, 9e3), np.zeros(count, bool)
    )
    perfect = Predictions(ids, keypoints[..., :2], np.linspace(1, 0.1, count))
    lost = np.where((np.arange(count) >= share * count)[:, None, None], 1e4, 0)
    half = Predictions(ids, keypoints[..., :2] + lost, perfect.scores)
    found = paired_ap_difference(truth, perfect, half, SIGMAS, draws=1000)
    assert found.value == pytest.approx(-20, abs=1)
    width = 2 * 1.96 * 100 * math.sqrt(share * (1 - share) / count)
    assert found.high - found.low == pytest.approx(width, rel=0.15)


def test_nobody_who_counts() -> None:
    truth, found = scene()
    nobody = truth.take(~truth.scored)
    with pytest.raises(ValueError, match="nobody who counts"):
        paired_ap_difference(nobody, found, found, SIGMAS, draws=2)
