from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepose.crops import (
    apply_affines,
    box_affines,
    cut_inputs,
    normalise,
    to_input,
    unapply_affines,
    warp_crops,
)
from edgepose.samples import load_samples
from edgepose.spec import IMAGENET_MEAN, IMAGENET_STD
from tests.fakes import heatmap_spec

finite = st.floats(-500, 2000, allow_nan=False, width=32)
extent = st.floats(1, 1500, allow_nan=False, width=32)
boxes = st.tuples(finite, finite, extent, extent).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)
sizes = st.sampled_from([(256, 192), (128, 96), (192, 256), (64, 64)])


def noise(height: int = 120, width: int = 160) -> np.ndarray:
    """A picture with structure everywhere, smooth enough that bilinear sampling is well defined."""
    yy, xx = np.mgrid[:height, :width].astype(np.float64)
    planes = [
        127 + 60 * np.sin(xx / 9 + phase) + 60 * np.cos(yy / 7 - phase) for phase in (0.0, 1.0, 2.5)
    ]
    return np.stack(planes, -1).clip(0, 255).astype(np.uint8)


def test_golden_affine() -> None:
    """By hand: 40x80 grows to 60x80, then to 75x100; scale 48 / 75 = 0.64; centre (30, 60)."""
    (affine,) = box_affines(np.array([[10, 20, 50, 100]], np.float32), (64, 48), 1.25)
    expected = [[0.64, 0, 0.5 * 0.64 - 30 * 0.64 + 23.5], [0, 0.64, 0.5 * 0.64 - 60 * 0.64 + 31.5]]
    np.testing.assert_allclose(affine, expected, atol=1e-12)
    np.testing.assert_allclose(
        apply_affines(np.array([[[29.5, 59.5]]]), affine[None]), [[[23.5, 31.5]]], atol=1e-6
    )


@given(boxes, sizes, st.floats(0.5, 4))
def test_a_wide_or_tall_box_lies_centred_in_the_crop(
    box: tuple[float, ...], size: tuple[int, int], padding: float
) -> None:
    x0, y0, x1, y1 = np.asarray(box, np.float32).astype(float)
    affine = box_affines(np.array([box], np.float32), size, padding)
    # Corners are continuous coordinates: half a pixel before index coordinates.
    corners = np.array([[[x0 - 0.5, y0 - 0.5], [x1 - 0.5, y1 - 0.5]]])
    (left, top), (right, bottom) = apply_affines(corners, affine)[0].astype(float) + 0.5
    width, height = size[1], size[0]
    assert left + right == pytest.approx(width, abs=0.02)
    assert top + bottom == pytest.approx(height, abs=0.02)
    # One side fills the crop up to the padding, the other no more than that.
    share = max((right - left) / width, (bottom - top) / height)
    assert share * padding == pytest.approx(1, rel=2e-3)


@given(st.lists(boxes, min_size=1, max_size=5), sizes)
def test_there_and_back(many: list[tuple[float, ...]], size: tuple[int, int]) -> None:
    affines = box_affines(np.array(many, np.float32), size, 1.25)
    rng = np.random.default_rng(0)
    points = rng.uniform(-50, 300, (len(many), 17, 2))
    back = unapply_affines(apply_affines(points, affines), affines)
    scale = 1 / affines[:, 0, 0]  # float32 rounding in the crop, seen from the image
    error = np.abs(back - points).max((1, 2))
    assert (error <= 1e-3 + 1e-3 * scale).all()


def test_the_warp_is_bilinear_sampling_at_the_mapped_centres() -> None:
    image = noise()
    size = (64, 48)
    box = np.array([[40.3, 30.7, 100.2, 95.4]], np.float32)  # 1.7 image pixels to a crop pixel
    affines = box_affines(box, size, 1.25)
    (crop,) = warp_crops(image, affines, size)
    yy, xx = np.mgrid[: size[0], : size[1]]
    pixels = np.stack([xx, yy], -1).reshape(1, -1, 2)  # (1, H*W, 2) crop x, y
    source = unapply_affines(pixels, affines).reshape(*size, 2)  # (H, W, 2) image x, y
    low = np.floor(source).astype(int)
    part = source - low
    inside = (low >= 0).all(-1) & (low[..., 0] < 159) & (low[..., 1] < 119)
    x, y = low[..., 0].clip(0, 158), low[..., 1].clip(0, 118)
    fx, fy = part[..., :1], part[..., 1:]
    expected = (1 - fy) * ((1 - fx) * image[y, x] + fx * image[y, x + 1]) + fy * (
        (1 - fx) * image[y + 1, x] + fx * image[y + 1, x + 1]
    )
    assert inside.mean() > 0.8
    # OpenCV before 5 rounds positions to 1/32 pixel; the picture changes by 9 levels a pixel.
    assert np.abs(crop.astype(float) - expected)[inside].max() <= 1.5


def test_outside_the_image_is_black() -> None:
    white = np.full((100, 100, 3), 255, np.uint8)
    box = np.array([[-50, 0, 50, 100]], np.float32)
    (crop,) = warp_crops(white, box_affines(box, (80, 80), 1.0), (80, 80))
    assert crop[:, :39].max() == 0
    assert crop[:, 41:].min() == 255


@settings(max_examples=20)
@given(st.floats(5, 60), st.floats(5, 40), st.floats(20, 80), st.floats(20, 70))
def test_a_mirrored_image_gives_the_mirrored_crop(x: float, y: float, w: float, h: float) -> None:
    image = noise()
    size = (64, 48)
    box = np.array([[x, y, x + w, y + h]], np.float32)
    mirrored_box = box[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [160, 0, 160, 0]
    plain = warp_crops(image, box_affines(box, size, 1.25), size)
    mirrored = warp_crops(
        np.ascontiguousarray(image[:, ::-1]), box_affines(mirrored_box, size, 1.25), size
    )
    inner = np.abs(plain[:, :, ::-1].astype(int) - mirrored)
    assert np.quantile(inner, 0.99) <= 2  # the border to black may move by a rounding


def test_every_crop_of_a_batch_is_the_crop_alone() -> None:
    image = noise()
    many = np.array([[10, 10, 60, 90], [0, 0, 160, 120], [70.5, 3.2, 110, 60]], np.float32)
    together = warp_crops(image, box_affines(many, (64, 48), 1.25), (64, 48))
    for row, box in enumerate(many):
        alone = warp_crops(image, box_affines(box[None], (64, 48), 1.25), (64, 48))
        np.testing.assert_array_equal(together[row], alone[0])


@pytest.mark.parametrize("size", [(256, 192), (32, 32)])
@pytest.mark.parametrize("tiles", [1, 8])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_crop_is_what_opencv_samples_however_it_is_taken(
    size: tuple[int, int], tiles: int, threads: int
) -> None:
    """With a fourth channel or without, on one thread or several: the same bytes."""
    image = np.tile(noise(), (tiles, tiles, 1))
    boxes = np.array([[-5, 9.3, 20, 40], [30, 20, 51.7, 44], [100, 90, 125, 130]], np.float32)
    affines = box_affines(boxes, size, 1.25)
    assert (affines[:, 0, 0] > 0.5).all()
    before = cv2.getNumThreads()
    cv2.setNumThreads(threads)
    try:
        crops = warp_crops(image, affines, size)
    finally:
        cv2.setNumThreads(before)
    for crop, affine in zip(crops, affines, strict=True):
        np.testing.assert_array_equal(crop, cv2.warpAffine(image, affine, size[::-1]))


@pytest.mark.parametrize("colour", ["rgb", "bgr"])
def test_normalisation(colour: str) -> None:
    crops = noise(64, 48)[None]
    planes = normalise(crops, heatmap_spec(colour=colour))
    ordered = crops[..., ::-1] if colour == "rgb" else crops
    expected = (ordered.astype(float) - IMAGENET_MEAN) / IMAGENET_STD
    assert planes.dtype == np.float32
    np.testing.assert_allclose(planes, expected.transpose(0, 3, 1, 2), atol=1e-5)


def test_input_forms() -> None:
    crops = np.stack([noise(64, 48), noise(64, 48)[::-1]])
    plain = to_input(crops, heatmap_spec())
    assert (plain.shape, plain.dtype) == ((2, 3, 64, 48), np.float32)
    last = to_input(crops, heatmap_spec(layout="nhwc"))
    np.testing.assert_array_equal(last, plain.transpose(0, 2, 3, 1))
    half = to_input(crops, heatmap_spec(dtype="float16"))
    assert half.dtype == np.float16
    bytes_ = to_input(crops, heatmap_spec(dtype="uint8", layout="nhwc", colour="bgr"))
    np.testing.assert_array_equal(bytes_, crops)
    rgb = to_input(crops, heatmap_spec(dtype="uint8", colour="rgb"))
    np.testing.assert_array_equal(rgb, crops[..., ::-1].transpose(0, 3, 1, 2))
    assert all(form.flags.c_contiguous for form in (plain, last, half, bytes_, rgb))


def test_a_mirrored_view_is_taken_as_input() -> None:
    """The flip test hands over ``crops[:, :, ::-1]``, which is no contiguous array."""
    crops = noise(64, 48)[None]
    mirrored = to_input(crops[:, :, ::-1], heatmap_spec())
    np.testing.assert_array_equal(mirrored, to_input(crops, heatmap_spec())[..., ::-1])
    assert mirrored.flags.c_contiguous


@pytest.mark.parametrize("size", [(32, 32), (128, 96)])
def test_a_large_person_is_averaged_down_not_skipped_through(size: tuple[int, int]) -> None:
    """Against the area average of a crop sampled eight times as finely."""
    sample = load_samples()[0]
    affines = box_affines(sample.boxes, size, 1.25)
    fine = affines * 8
    fine[:, :, 2] += 3.5
    large = warp_crops(sample.image, fine, (size[0] * 8, size[1] * 8))[0]
    truth = cv2.resize(large, size[::-1], interpolation=cv2.INTER_AREA).astype(int)
    crop = warp_crops(sample.image, affines, size)[0]
    skipped = cv2.warpAffine(sample.image, affines[0], size[::-1])
    assert np.abs(crop - truth).mean() < 0.6 * np.abs(skipped - truth).mean()


@pytest.mark.parametrize(
    "box", [[0, 0, 640, 425], [-500, -400, 700, 300], [600, 380, 2000, 1700], [0, 0, 3, 425]]
)
def test_averaging_moves_nothing_even_at_the_borders(box: list[float]) -> None:
    """A smooth picture has nothing to alias, so that both ways must agree."""
    rows, columns = np.mgrid[:425, :640]
    smooth = np.stack([rows * 0.5, columns * 0.3, rows * 0.2 + columns * 0.2], 2).astype(np.uint8)
    affines = box_affines(np.array([box], np.float32), (64, 64), 1.25)
    crop = warp_crops(smooth, affines, (64, 64))[0].astype(int)
    plain = cv2.warpAffine(smooth, affines[0], (64, 64)).astype(int)
    inside = cv2.erode((plain.sum(2) > 0).astype(np.uint8), np.ones((5, 5))) > 0
    assert np.abs(crop - plain)[inside].max(initial=0) <= 6


@pytest.mark.parametrize("colour", ["rgb", "bgr"])
@pytest.mark.parametrize("size", [(32, 32), (128, 96)])
def test_one_pass_over_each_person_gives_the_same_bits(size: tuple[int, int], colour: str) -> None:
    """Small and large crops, near and far people, and graphs that normalise by themselves."""
    image = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    boxes = np.array([[10, 10, 390, 290], [50, 60, 80, 120], [-20, 30, 60, 200]], np.float32)
    affines = box_affines(boxes, size, 1.25)
    crops = warp_crops(image, affines, size)
    for changes in ({}, {"layout": "nhwc"}, {"dtype": "float16"}, {"dtype": "uint8"}):
        spec = heatmap_spec(size, colour=colour, **changes)
        found = cut_inputs(image, affines, spec)
        wanted = to_input(crops, spec)
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("size", [(32, 32), (256, 192)])
def test_nobody_is_cut_to_nothing(size: tuple[int, int]) -> None:
    spec = heatmap_spec(size)
    affines = box_affines(np.zeros((0, 4), np.float32), size, 1.25)
    assert affines.shape == (0, 2, 3)
    assert cut_inputs(noise(), affines, spec).shape == (0, 3, *size)
    assert to_input(warp_crops(noise(), affines, size), spec).shape == (0, 3, *size)
