from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from edgepose.crops import normalise
from edgepose.decode import decode
from edgepose.errors import GraphError, ParityError
from edgepose.export.fold_io import folded_spec
from edgepose.export.parity import FP32, compare
from edgepose.export.photos import Photo
from edgepose.spec import DecoderSpec
from tests.export.tiny import people
from tests.fakes import FakeRunner, brightness_maps, heatmap_spec

Maps = dict[str, np.ndarray]
Respond = Callable[[np.ndarray], Maps]


def blobs(images: np.ndarray, shift: float = 0.0) -> Maps:
    """A clear Gaussian for each joint, at a place that depends on the picture."""
    n = len(images)
    light = images.mean((1, 2, 3)) % 1
    x = 3 + 4 * light[:, None] + np.linspace(0, 2, 17) + shift / 4  # (n, 17), in cells
    y = 5 + 4 * light[:, None] + np.linspace(2, 0, 17)
    rows, columns = np.mgrid[0:16, 0:12]
    squared = (columns - x[..., None, None]) ** 2 + (rows - y[..., None, None]) ** 2
    return {"heatmaps": np.exp(-squared / 8).reshape(n, 17, 16, 12).astype(np.float32)}


@pytest.fixture(scope="module")
def photos() -> list[Photo]:
    return people(5)


def run(photos: list[Photo], ours: Respond, theirs: Respond):  # type: ignore[no-untyped-def]
    spec = heatmap_spec()
    return compare(FakeRunner(spec, ours), FakeRunner(spec, theirs), photos)


def test_the_same_is_the_same(photos: list[Photo]) -> None:
    parity = run(photos, blobs, blobs)
    assert parity
    assert parity.failures == ()
    assert (parity.persons, parity.keypoints, parity.undecided) == (5, 85, 0)
    assert parity.max_px == 0
    assert parity.oks_min == 1
    assert [t.name for t in parity.tensors] == ["heatmaps"]


@pytest.mark.parametrize("shift", [0.05, 0.5, 2.0])
def test_a_shift_is_measured_in_pixels_of_the_input(photos: list[Photo], shift: float) -> None:
    """All maps moved by a part of a cell: DARK finds a Gaussian's centre to a hundredth."""
    parity = run(photos, blobs, lambda images: blobs(images, shift))
    assert parity.median_px == pytest.approx(shift, rel=0.1, abs=0.01)
    assert parity.moved_share == (1.0 if shift > 1 else 0.0)
    assert not parity
    assert any("median keypoint error" in f for f in parity.failures)


def test_oks_by_hand(photos: list[Photo]) -> None:
    parity = run(photos[:1], blobs, lambda images: blobs(images, 2.0))
    (photo,) = photos[:1]
    x0, y0, x1, y1 = photo.boxes[0]
    width = max(x1 - x0, (y1 - y0) * 48 / 64) * 1.25  # of the padded box, which is 48 px of input
    moved = 2.0 * width / 48
    area = 0.53 * (x1 - x0) * (y1 - y0)
    sigmas = np.array(heatmap_spec().keypoints.sigmas)
    expected = np.exp(-(moved**2) / (2 * area * (2 * sigmas) ** 2)).mean()
    assert parity.oks_mean == pytest.approx(expected, rel=2e-2)


def test_one_wrong_person_among_many_is_seen(photos: list[Photo]) -> None:
    def wrong_for_one(images: np.ndarray) -> Maps:
        maps = blobs(images)
        maps["heatmaps"][0, :] = maps["heatmaps"][0, :, ::-1]
        return maps

    parity = run(photos, blobs, wrong_for_one)
    assert not parity
    assert any("smallest OKS" in f for f in parity.failures)


def test_a_single_large_tensor_error_does_not_judge(photos: list[Photo]) -> None:
    def spiked(images: np.ndarray) -> Maps:
        maps = blobs(images)
        maps["heatmaps"][0, 0, 15, 0] += 0.3  # far from any peak, and below it
        return maps

    parity = run(photos, blobs, spiked)
    assert parity
    assert parity.tensors[0].max > 0.2
    assert parity.tensors[0].p99 < 1e-6


def filled(value: float) -> Callable[[np.ndarray], Maps]:
    return lambda images: {"heatmaps": np.full_like(blobs(images)["heatmaps"], value)}


def test_not_a_number_never_passes(photos: list[Photo]) -> None:
    with pytest.raises(ParityError, match="NaN"):
        run(photos, blobs, filled(np.nan))
    with pytest.raises(GraphError, match="NaN"):
        run(photos, filled(np.nan), blobs)


def test_infinity_never_passes(photos: list[Photo]) -> None:
    with np.errstate(invalid="ignore"):
        parity = run(photos, blobs, filled(np.inf))
    assert not parity
    assert "NaN" not in json.dumps(parity.to_dict(), allow_nan=False)


def test_what_rounding_decides_does_not_count(photos: list[Photo]) -> None:
    """Two equal peaks in half of the joints: both sides are right, wherever they look."""

    def twins(images: np.ndarray, first: float, second: float) -> Maps:
        maps = blobs(images)
        maps["heatmaps"][:, :8] = 0
        maps["heatmaps"][:, :8, 3, 3] = first
        maps["heatmaps"][:, :8, 12, 9] = second
        return maps

    parity = run(photos, lambda i: twins(i, 1 + 1e-6, 1), lambda i: twins(i, 1, 1 + 1e-6))
    assert parity
    assert parity.undecided == 8 * 5
    assert parity.keypoints == 9 * 5


def test_too_little_to_judge_is_a_no(photos: list[Photo]) -> None:
    def flat(images: np.ndarray) -> Maps:
        return {"heatmaps": np.ones((len(images), 17, 16, 12), np.float32)}

    parity = run(photos, flat, flat)
    assert not parity
    assert any("decided" in f for f in parity.failures)
    assert parity.to_dict()["median_px"] is None


def test_an_artefact_that_decodes_by_itself(photos: list[Photo]) -> None:
    spec = heatmap_spec(decoder=DecoderSpec(name="quarter"))
    model = FakeRunner(spec, brightness_maps)

    def folded(images: np.ndarray) -> Maps:
        keypoints, scores = decode(brightness_maps(normalise(images, spec)), spec)
        return {"keypoints": keypoints, "scores": scores}

    parity = compare(model, FakeRunner(folded_spec(spec), folded), photos)
    assert parity
    assert [t.name for t in parity.tensors] == ["scores"]


def test_the_limits_are_about_invisible_differences() -> None:
    assert FP32.median_px <= 0.01
    assert FP32.p99_px <= 0.1
    assert FP32.oks_mean >= 0.9999


# Models that decide: rounding of the input tips the decision.


def tipping(share: float, lift: float) -> Respond:
    """Maps whose right neighbour of the peak rises by ``lift`` for persons that rounding tips."""
    calls = 0

    def respond(images: np.ndarray) -> Maps:
        nonlocal calls
        calls += 1
        maps = blobs(np.round(images, 3))["heatmaps"]
        if calls > 1:  # the second look, at the shaken input
            maps[: round(share * len(maps)), ..., 8:] += lift
        return {"heatmaps": maps}

    return respond


def one_photo(photos: list[Photo]) -> list[Photo]:
    return [max(photos, key=lambda photo: len(photo.boxes))]


def test_what_rounding_tips_in_the_reference_does_not_count(photos: list[Photo]) -> None:
    """One person in three: the others still judge the artefact."""
    photos = one_photo(photos)
    count = len(photos[0].boxes)
    parity = run(photos, tipping(1 / count, 0.9), lambda images: blobs(np.round(images, 3)))
    assert parity.noise > 0.5
    assert parity.undecided == 17
    assert parity.keypoints == 17 * (count - 1)
    assert parity


def test_a_model_that_rounding_tips_everywhere_cannot_be_judged(photos: list[Photo]) -> None:
    photos = one_photo(photos)
    parity = run(photos, tipping(1.0, 0.9), lambda images: blobs(np.round(images, 3)))
    assert not parity
    assert "share of decided keypoints is 0" in " ".join(parity.failures)


def test_a_calm_reference_leaves_the_noise_as_it_is(photos: list[Photo]) -> None:
    parity = run(photos, blobs, blobs)
    assert FP32.noise <= parity.noise < 10 * FP32.noise
