from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from edgepose.crops import normalise
from edgepose.decode import decode
from edgepose.errors import GraphError, ParityError
from edgepose.export.fold_io import folded_spec
from edgepose.parity import FP16, FP32, INT8, Parity, ParityLimits, Photo, compare
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


@pytest.mark.parametrize(("height", "allowed"), [(None, 0.8), (64, 0.8), (32, 1.6), (128, 0.8)])
def test_pixels_of_a_higher_input_are_smaller(
    photos: list[Photo], height: int | None, allowed: float
) -> None:
    """The maps' input is 64 pixels high."""
    limits = replace(INT8, median_px=0.8, p99_px=2.0, height=height)
    reference = FakeRunner(heatmap_spec(), blobs)
    moved = FakeRunner(heatmap_spec(), lambda images: blobs(images, 1.2))
    parity = compare(reference, moved, photos, limits)
    assert parity.limits.median_px == pytest.approx(allowed)
    assert any("median keypoint error" in f for f in parity.failures) == (allowed < 1.2)


def test_eight_bits_may_move_more_pixels_of_a_higher_input() -> None:
    assert (INT8.at(256).median_px, INT8.at(256).p99_px) == (0.8, 4.0)
    assert INT8.at(256).oks_mean == INT8.oks_mean
    assert INT8.at(32) == INT8.at(128) == INT8
    assert (FP32.at(256), FP16.at(256)) == (FP32, FP16)


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


# Models that decide: rounding tips the decision.


def tipped(share: float, lift: float) -> Respond:
    """Maps whose right half rises by ``lift`` for the first people of a batch."""

    def respond(images: np.ndarray) -> Maps:
        maps = blobs(images)["heatmaps"]
        maps[: round(share * len(maps)), ..., 8:] += lift
        return {"heatmaps": maps}

    return respond


def judged(photo: Photo, theirs: Respond, *nudged: Respond) -> Parity:
    spec = heatmap_spec()
    others = [FakeRunner(spec, respond) for respond in nudged]
    return compare(FakeRunner(spec, blobs), FakeRunner(spec, theirs), [photo], FP32, others)


@pytest.fixture
def crowd(photos: list[Photo]) -> Photo:
    return max(photos, key=lambda photo: len(photo.boxes))


def test_what_rounding_tips_in_the_model_does_not_count(crowd: Photo) -> None:
    """The artefact decides otherwise for one person, as the model itself may; others judge it."""
    count = len(crowd.boxes)
    assert count > 2
    theirs = tipped(1 / count, 0.9)
    assert not judged(crowd, theirs)
    parity = judged(crowd, theirs, blobs, tipped(1 / count, 0.9))
    assert parity
    assert (parity.nudges, parity.undecided) == (2, 17)
    assert parity.keypoints == 17 * (count - 1)
    assert parity.tensors[0].sway_p99 > 0.1


def test_noise_as_large_as_the_sway_decides_too(crowd: Photo) -> None:
    """A nudge that lifts the rival of a peak almost, but not quite, over it."""
    count = len(crowd.boxes)
    parity = judged(crowd, tipped(1 / count, 0.99), tipped(1 / count, 0.97))
    assert parity.undecided == 17


def test_an_unsteady_model_excuses_no_other_person(crowd: Photo) -> None:
    count = len(crowd.boxes)
    parity = judged(crowd, tipped(2 / count, 0.9), tipped(1 / count, 0.9))
    assert not parity
    assert parity.undecided == 17
    assert any("smallest OKS" in failure for failure in parity.failures)


def test_a_steady_model_excuses_nothing(crowd: Photo) -> None:
    parity = judged(crowd, tipped(1 / len(crowd.boxes), 0.9), blobs, blobs)
    assert not parity
    assert parity.undecided == 0
    assert parity.tensors[0].sway_p99 == 0


def test_a_model_that_rounding_tips_everywhere_cannot_be_judged(crowd: Photo) -> None:
    parity = judged(crowd, tipped(1.0, 0.9), tipped(1.0, 0.9))
    assert not parity
    assert "share of decided keypoints is 0" in " ".join(parity.failures)


def test_the_sway_of_a_score_counts_where_the_artefact_decodes(crowd: Photo) -> None:
    spec = heatmap_spec()

    def folded(lift: float) -> Respond:
        def respond(images: np.ndarray) -> Maps:
            maps = blobs(normalise(images, spec))["heatmaps"] * (1 + lift)
            keypoints, scores = decode({"heatmaps": maps}, spec)
            return {"keypoints": keypoints, "scores": scores}

        return respond

    def scaled(images: np.ndarray) -> Maps:
        return {"heatmaps": blobs(images)["heatmaps"] * np.float32(1.004)}

    artefact = FakeRunner(folded_spec(spec), folded(0.005))
    model = FakeRunner(spec, blobs)
    assert not compare(model, artefact, [crowd])
    assert compare(model, artefact, [crowd], FP32, [FakeRunner(spec, scaled)])


# Lower precision, and weights that find no poses.


def noisy(share: float, base: Respond = blobs) -> Respond:
    """Uniform noise of so large a share of the largest value, the same in every call."""

    def respond(images: np.ndarray) -> Maps:
        maps = base(images)["heatmaps"]
        noise = np.random.default_rng(len(images)).uniform(-1, 1, maps.shape)
        return {"heatmaps": (maps + share * np.abs(maps).max() * noise).astype(np.float32)}

    return respond


def static(images: np.ndarray) -> Maps:
    """What random weights make of a picture: no peak that stands out."""
    random = np.random.default_rng(len(images))
    maps = 1 + 0.02 * random.standard_normal((len(images), 17, 16, 12))
    return {"heatmaps": maps.astype(np.float32)}


def held_to(limits: ParityLimits, photos: list[Photo], ours: Respond, theirs: Respond) -> Parity:
    spec = heatmap_spec()
    return compare(FakeRunner(spec, ours), FakeRunner(spec, theirs), photos, limits)


def test_correlation_by_hand(photos: list[Photo]) -> None:
    photo = photos[0]
    maps = [respond(np.zeros((len(photo.boxes), 3, 64, 48))) for respond in (static, noisy(0.1))]
    expected = np.corrcoef(*[m["heatmaps"].ravel() for m in maps])[0, 1]
    parity = held_to(
        FP16, [photo], static, lambda images: noisy(0.1)(np.zeros((len(images), 3, 64, 48)))
    )
    assert parity.tensors[0].correlation == pytest.approx(expected, abs=1e-9)


def test_fp16_allows_what_fp32_does_not_and_no_more(photos: list[Photo]) -> None:
    assert held_to(FP16, photos, blobs, noisy(2e-3))
    assert not held_to(FP32, photos, blobs, noisy(2e-3))
    assert not held_to(FP16, photos, blobs, noisy(0.1))


def test_what_is_small_beside_the_largest_is_seen_by_correlation(photos: list[Photo]) -> None:
    """One joint's map is a hundred times the others', which are wrong."""

    def uneven(images: np.ndarray, turned: bool) -> Maps:
        maps = blobs(images)["heatmaps"]
        others = maps[:, 1:]
        maps[:, 1:] = 0.01 * (others[..., ::-1] if turned else others)
        return {"heatmaps": maps}

    limits = replace(FP16, correlation=0.9999).speed_only()
    parity = held_to(limits, photos, lambda i: uneven(i, False), lambda i: uneven(i, True))
    assert parity.tensors[0].p99 < limits.tensor_p99
    assert [f for f in parity.failures if "correlation of 'heatmaps'" in f]


def test_random_weights_are_judged_by_tensors_and_the_verdict_says_so(photos: list[Photo]) -> None:
    theirs = noisy(3e-3, static)
    with_poses = held_to(FP16, photos, static, theirs)
    assert not with_poses
    assert with_poses.verdict == "NOT the same poses"
    parity = held_to(FP16.speed_only(), photos, static, theirs)
    assert parity
    assert parity.to_dict()["verdict"] == (
        "the same tensors; poses were not judged, random weights find none"
    )
    wrong = held_to(FP16.speed_only(), photos, static, noisy(0.05, static))
    assert not wrong
    assert wrong.verdict.startswith("NOT the same tensors")


def test_constant_tensors_have_no_correlation_and_are_judged_by_their_error(
    photos: list[Photo],
) -> None:
    limits = FP16.speed_only()
    same = held_to(limits, photos, filled(1.0), filled(1.001))
    assert same
    assert same.tensors[0].correlation is None
    assert not held_to(limits, photos, filled(1.0), filled(1.5))


def test_the_models_own_sway_excuses_its_correlation(crowd: Photo) -> None:
    """Half of the people tip, in the artefact as in the nudged model."""
    spec, limits = heatmap_spec(), FP16.speed_only()
    model, theirs, nudge = (FakeRunner(spec, r) for r in (blobs, tipped(0.5, 0.9), tipped(1, 0.9)))
    assert not compare(model, theirs, [crowd], limits)
    parity = compare(model, theirs, [crowd], limits, [nudge])
    assert parity
    assert parity.tensors[0].sway_correlation < limits.correlation
