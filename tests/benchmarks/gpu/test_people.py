"""Stored crops go through the estimator and come out as they went in, at every batch size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.gpu.people import (
    People,
    StoredRunner,
    crops_of,
    nudged_runners,
    read_people,
    strips,
)
from edgepose.crops import box_affines, to_input, warp_crops
from edgepose.errors import ArtefactError
from edgepose.parity import FP32, compare, sample_photos
from edgepose.spec import PoseSpec
from tests.benchmarks.gpu.bundles import crops, tiny_maps
from tests.fakes import FakeRunner, heatmap_spec


@pytest.mark.parametrize("size", [(64, 48), (256, 192), (96, 96), (135, 77)])
@pytest.mark.parametrize("batch", [1, 4, 16])
def test_crops_are_cut_out_of_strips_unchanged(size: tuple[int, int], batch: int) -> None:
    spec = heatmap_spec(size)
    values = np.random.default_rng(0).integers(0, 256, (18, *size, 3)).astype(np.uint8)
    back = []
    for photo in strips(values, batch, spec):
        assert len(photo.boxes) <= batch
        affines = box_affines(photo.boxes, size, spec.padding)
        back.append(warp_crops(photo.image, affines, size))
    np.testing.assert_array_equal(np.concatenate(back), values)


def stored(spec: PoseSpec) -> StoredRunner:
    return StoredRunner(spec, crops(), tiny_maps(to_input(crops(), spec)))


@pytest.mark.parametrize("batch", [1, 2, 16])
def test_a_stored_runner_is_the_one_it_was_stored_from(batch: int) -> None:
    spec = heatmap_spec()
    parity = compare(stored(spec), FakeRunner(spec, tiny_maps), strips(crops(), batch, spec), FP32)
    assert parity.failures == ()
    assert parity.persons == len(crops())
    assert parity.keypoints + parity.undecided == 17 * len(crops())
    assert parity.keypoints > 0
    assert parity.max_px == 0


def test_another_model_does_not_pass() -> None:
    spec = heatmap_spec()

    def shifted(images: np.ndarray) -> dict[str, np.ndarray]:
        return {n: np.roll(v, 2, -1) for n, v in tiny_maps(images).items()}

    photos = strips(crops(), 4, spec)
    parity = compare(stored(spec), FakeRunner(spec, shifted), photos, FP32)
    assert parity.median_px == pytest.approx(8, abs=1)
    assert not parity.passed


def test_other_people_are_noticed() -> None:
    spec = heatmap_spec()
    runner = stored(spec)
    runner.infer(to_input(crops()[:2], spec))
    with pytest.raises(ArtefactError, match="came out otherwise"):
        runner.infer(to_input(crops()[:1], spec))  # the third was expected
    with pytest.raises(ArtefactError, match="came out otherwise"):
        stored(spec).infer(to_input(np.concatenate([crops(), crops()]), spec))


def test_people_are_read_as_they_were_written(tmp_path: Path) -> None:
    spec = heatmap_spec()
    found = tiny_maps(to_input(crops(), spec))
    random = np.random.default_rng(0)
    nudges = tuple(
        {"heatmaps": found["heatmaps"] + 1e-6 * random.normal(size=found["heatmaps"].shape)}
        for _ in range(3)
    )
    path = tmp_path / "people.npz"
    path.write_bytes(People(crops(), found, nudges).to_bytes())
    read = read_people(path)
    np.testing.assert_array_equal(read.crops, crops())
    np.testing.assert_array_equal(read.found["heatmaps"], found["heatmaps"])
    assert len(read.nudged) == 3
    for one, nudge in zip(nudged_runners(read, spec), nudges, strict=True):
        given = one.infer(to_input(crops(), spec))["heatmaps"]
        sway = nudge["heatmaps"] - found["heatmaps"]
        # FP16 keeps the sway to a thousandth, or to its smallest step; FP32 adds rounding.
        np.testing.assert_allclose(given - found["heatmaps"], sway, rtol=2e-3, atol=3e-7)
    path.write_bytes(b"no zip file")
    with pytest.raises(ArtefactError, match="cannot read"):
        read_people(path)


def test_people_are_cut_as_the_estimator_cuts_them() -> None:
    spec, photos = heatmap_spec(), sample_photos()
    first = crops_of(photos, spec, 3)
    assert first.shape == (3, 64, 48, 3)
    affines = box_affines(photos[1].boxes[:1], (64, 48), spec.padding)
    np.testing.assert_array_equal(first[1:2], warp_crops(photos[1].image, affines, (64, 48)))
    everyone = sum(len(photo.boxes) for photo in photos)
    assert len(crops_of(photos, spec, 1000)) == everyone
