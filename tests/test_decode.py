from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepose.decode import (
    cells_to_pixels,
    decode,
    flip_outputs,
    gaussian_matrix,
    pixels_to_cells,
)
from edgepose.errors import GraphError
from edgepose.spec import DecoderSpec, PoseSpec
from tests.fakes import heatmap_spec

ALIGNMENTS = ["half_pixel", "corner", "unit"]
SIZE = (256, 192)


def spec_of(name: str, alignment: str = "half_pixel", **changes: Any) -> PoseSpec:
    return heatmap_spec(SIZE, decoder=DecoderSpec(name=name, alignment=alignment, **changes))


def simcc_spec(alignment: str = "half_pixel", split: float = 2.0) -> PoseSpec:
    return heatmap_spec(
        SIZE,
        output="simcc",
        decoder=DecoderSpec(name="simcc", alignment=alignment, split_ratio=split),
    )


def gaussians(centres: np.ndarray, sigma: float = 2.0, top: float = 1.0) -> np.ndarray:
    """(N, K, 2) centres in cells -> (N, K, 64, 48) maps."""
    yy, xx = np.mgrid[:64, :48]
    dx = xx - centres[..., 0, None, None]
    dy = yy - centres[..., 1, None, None]
    return (top * np.exp(-(dx**2 + dy**2) / (2 * sigma**2))).astype(np.float32)


def centres(count: int, margin: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform([margin, margin], [47 - margin, 63 - margin], (count, 17, 2))


def in_cells(keypoints: np.ndarray, alignment: Any = "half_pixel") -> np.ndarray:
    return np.stack(
        [
            pixels_to_cells(keypoints[..., 0], 48, 192, alignment),
            pixels_to_cells(keypoints[..., 1], 64, 256, alignment),
        ],
        -1,
    )


# --- alignment ------------------------------------------------------------------------------------


def test_golden_alignments() -> None:
    """Where the cells of a 48-cell axis over 192 pixels lie, from the definitions."""
    cells = np.array([0.0, 23.5, 47.0])
    golden = {"half_pixel": [1.5, 95.5, 189.5], "corner": [0, 94, 188], "unit": [0, 95.5, 191]}
    for alignment, pixels in golden.items():
        np.testing.assert_allclose(cells_to_pixels(cells, 48, 192, alignment), pixels)


@given(
    st.floats(-10, 500),
    st.integers(2, 128),
    st.integers(2, 512),
    st.sampled_from(ALIGNMENTS),
)
def test_alignments_invert(position: float, count: int, pixels: int, alignment: Any) -> None:
    there = cells_to_pixels(np.array([position]), count, pixels, alignment)
    assert pixels_to_cells(there, count, pixels, alignment)[0] == pytest.approx(position, abs=1e-9)


@given(st.integers(2, 64), st.integers(1, 8), st.sampled_from(["half_pixel", "unit"]))
def test_symmetric_alignments_mirror(count: int, factor: int, alignment: Any) -> None:
    """Cell n-1-i lies where the mirror image of cell i lies."""
    pixels = count * factor
    cells = np.arange(count, dtype=float)
    position = cells_to_pixels(cells, count, pixels, alignment)
    np.testing.assert_allclose(position[::-1], pixels - 1 - position, atol=1e-9)


# --- heatmaps -------------------------------------------------------------------------------------


@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize(("name", "limit"), [("argmax", 0.5), ("quarter", 0.26), ("dark", 0.05)])
def test_peaks_are_found(name: str, limit: float, alignment: Any) -> None:
    truth = centres(20, margin=8)
    keypoints, scores = decode({"heatmaps": gaussians(truth)}, spec_of(name, alignment))
    error = np.abs(in_cells(keypoints, alignment) - truth)
    assert error.max() < limit
    assert scores.min() > 0.85
    assert (keypoints.dtype, scores.dtype) == (np.float32, np.float32)


@settings(max_examples=50)
@given(st.floats(8, 39), st.floats(8, 55), st.sampled_from([1.5, 2.0, 3.0]), st.floats(0.05, 1.0))
def test_dark_finds_the_centre_at_any_height_and_width(
    x: float, y: float, sigma: float, top: float
) -> None:
    truth = np.full((1, 17, 2), (x, y))
    keypoints, _ = decode({"heatmaps": gaussians(truth, sigma, top)}, spec_of("dark"))
    assert np.abs(in_cells(keypoints) - truth).max() < 0.05


def test_dark_beats_noise_by_smoothing() -> None:
    rng = np.random.default_rng(1)
    truth = centres(20, margin=8)
    maps = gaussians(truth) + rng.normal(0, 0.03, (20, 17, 64, 48)).astype(np.float32)
    error = {
        name: np.abs(in_cells(decode({"heatmaps": maps}, spec_of(name))[0]) - truth).mean()
        for name in ("argmax", "quarter", "dark")
    }
    assert error["dark"] < error["quarter"] < error["argmax"]


@pytest.mark.parametrize("name", ["argmax", "quarter", "dark"])
@pytest.mark.parametrize("corner", [(0, 0), (47, 0), (0, 63), (47, 63), (0, 30), (24, 63)])
def test_peaks_on_the_border_stay_within_a_cell(name: str, corner: tuple[int, int]) -> None:
    truth = np.full((1, 17, 2), corner, float)
    keypoints, scores = decode({"heatmaps": gaussians(truth)}, spec_of(name))
    assert np.isfinite(keypoints).all()
    assert np.abs(in_cells(keypoints) - truth).max() <= 1
    assert scores.min() == pytest.approx(1)


@pytest.mark.parametrize("name", ["argmax", "quarter", "dark"])
@pytest.mark.parametrize("level", [0.0, -1.0, 1e-12, 7.0])
def test_flat_maps_give_finite_keypoints_and_scores_in_range(name: str, level: float) -> None:
    maps = np.full((2, 17, 64, 48), level, np.float32)
    keypoints, scores = decode({"heatmaps": maps}, spec_of(name))
    assert np.isfinite(keypoints).all()
    assert scores.min() == scores.max() == min(max(np.float32(level), 0), 1)


def test_golden_quarter_offset() -> None:
    """Peak at cell (10, 20), larger neighbours on the right and above: (10.25, 19.75)."""
    maps = np.zeros((1, 17, 64, 48), np.float32)
    maps[..., 20, 10], maps[..., 20, 11], maps[..., 19, 10] = 1, 0.5, 0.4
    keypoints, _ = decode({"heatmaps": maps}, spec_of("quarter", "corner"))
    np.testing.assert_allclose(keypoints[0, 0], [41, 79])
    keypoints, _ = decode({"heatmaps": maps}, spec_of("quarter"))
    np.testing.assert_allclose(keypoints[0, 0], [42.5, 80.5])


def test_blur_is_opencvs() -> None:
    """The matrix product equals GaussianBlur wherever the kernel does not reach the border."""
    import cv2

    maps = np.random.default_rng(3).random((64, 48)).astype(np.float32)
    for kernel in (3, 11, 17):
        ours = gaussian_matrix(64, kernel) @ maps @ gaussian_matrix(48, kernel).T
        sigma = 0.3 * ((kernel - 1) / 2 - 1) + 0.8
        theirs = cv2.GaussianBlur(maps, (kernel, kernel), sigma)
        edge = kernel // 2
        inner = (slice(edge, -edge), slice(edge, -edge))
        np.testing.assert_allclose(ours[inner], theirs[inner], atol=1e-5)


@pytest.mark.parametrize("margin", [0, 8])
def test_dark_is_a_newton_step_on_the_whole_smoothed_map(margin: int) -> None:
    """In double precision, keypoint by keypoint, with the map smoothed everywhere."""
    truth = centres(6, margin=margin)
    maps = gaussians(truth) + np.random.default_rng(5).normal(0, 0.02, (6, 17, 64, 48))
    maps = maps.astype(np.float32)
    keypoints, _ = decode({"heatmaps": maps}, spec_of("dark", blur_kernel=11))
    rows, columns = (gaussian_matrix(size, 11).astype(float) for size in (64, 48))
    for found, one in zip(
        in_cells(keypoints).reshape(-1, 2), maps.reshape(-1, 64, 48), strict=True
    ):
        log = np.log(np.maximum(rows @ one @ columns.T, 1e-10))
        y, x = np.unravel_index(one.argmax(), one.shape)

        def at(dy: int, dx: int, log: Any = log, y: Any = y, x: Any = x) -> float:
            return float(log[min(max(y + dy, 0), 63), min(max(x + dx, 0), 47)])

        dx, dy = (at(0, 1) - at(0, -1)) / 2, (at(1, 0) - at(-1, 0)) / 2
        dxx = (at(0, 2) - 2 * at(0, 0) + at(0, -2)) / 4
        dyy = (at(2, 0) - 2 * at(0, 0) + at(-2, 0)) / 4
        dxy = (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1)) / 4
        step = -np.linalg.solve([[dxx, dxy], [dxy, dyy]], [dx, dy])
        if np.linalg.det([[dxx, dxy], [dxy, dyy]]) <= 1e-12:
            step = np.zeros(2)
        np.testing.assert_allclose(found, np.array([x, y]) + step.clip(-1, 1), atol=2e-3)


@pytest.mark.parametrize("name", ["argmax", "quarter", "dark"])
def test_a_batch_is_its_members(name: str) -> None:
    maps = np.random.default_rng(4).random((6, 17, 64, 48)).astype(np.float32)
    together = decode({"heatmaps": maps}, spec_of(name))
    for row in range(6):
        alone = decode({"heatmaps": maps[row : row + 1]}, spec_of(name))
        np.testing.assert_allclose(together[0][row], alone[0][0], atol=1e-4)
        np.testing.assert_array_equal(together[1][row], alone[1][0])


def test_half_precision_maps() -> None:
    truth = centres(2, margin=8)
    keypoints, scores = decode({"heatmaps": gaussians(truth).astype(np.float16)}, spec_of("dark"))
    assert np.abs(in_cells(keypoints) - truth).max() < 0.1
    assert scores.dtype == np.float32


# --- SimCC ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", [2.0, 1.0, 3.0])
@pytest.mark.parametrize("size", [SIZE, (128, 128)])
def test_golden_simcc(split: float, size: tuple[int, int]) -> None:
    """Bin b of ``split`` bins a pixel is centred at (b + 0.5) / split - 0.5; scores by softmax."""
    x = np.zeros((2, 17, round(size[1] * split)), np.float32)
    y = np.zeros((2, 17, round(size[0] * split)), np.float32)
    x[..., 100], y[..., 33] = 9, 8
    spec = replace(simcc_spec(split=split), input_size=size)
    keypoints, scores = decode({"simcc_x": x, "simcc_y": y}, spec)
    np.testing.assert_allclose(
        keypoints[1, 16], [100.5 / split - 0.5, 33.5 / split - 0.5], rtol=1e-6
    )
    bins = (x.shape[-1], y.shape[-1])
    by_hand = [np.exp(top) / (np.exp(top) + n - 1) for top, n in zip((9, 8), bins, strict=True)]
    np.testing.assert_allclose(scores, min(by_hand), rtol=1e-5)


@pytest.mark.parametrize(("size", "bins"), [(SIZE, (384, 512)), ((32, 32), (64, 64))])
def test_simcc_takes_large_logits_and_batches(size: tuple[int, int], bins: tuple[int, int]) -> None:
    rng = np.random.default_rng(6)
    x, y = (rng.normal(0, 300, (4, 17, count)).astype(np.float32) for count in bins)
    spec = replace(simcc_spec(), input_size=size)
    keypoints, scores = decode({"simcc_x": x, "simcc_y": y}, spec)
    assert np.isfinite(keypoints).all()
    assert (scores >= 0).all()
    assert (scores <= 1).all()
    for row in range(4):
        part = slice(row, row + 1)
        alone = decode({"simcc_x": x[part], "simcc_y": y[part]}, spec)
        np.testing.assert_array_equal(keypoints[row], alone[0][0])
    nobody = decode({"simcc_x": x[:0], "simcc_y": y[:0]}, spec)
    assert (nobody[0].shape, nobody[1].shape) == ((0, 17, 2), (0, 17))


# --- mirror ---------------------------------------------------------------------------------------


def outputs_of(kind: str, seed: int = 7) -> tuple[dict[str, np.ndarray], PoseSpec]:
    rng = np.random.default_rng(seed)
    if kind == "heatmap":
        return {"heatmaps": gaussians(centres(3, 8, seed))}, spec_of("dark")
    if kind == "simcc":
        return {
            "simcc_x": rng.normal(0, 1, (3, 17, 384)).astype(np.float32),
            "simcc_y": rng.normal(0, 1, (3, 17, 512)).astype(np.float32),
        }, simcc_spec()
    spec = heatmap_spec(SIZE, output="keypoints", decoder=DecoderSpec(name="none"))
    return {
        "keypoints": rng.uniform(0, 190, (3, 17, 2)).astype(np.float32),
        "scores": rng.random((3, 17)).astype(np.float32),
    }, spec


@pytest.mark.parametrize("kind", ["heatmap", "simcc", "keypoints"])
def test_flipping_twice_is_nothing(kind: str) -> None:
    outputs, spec = outputs_of(kind)
    twice = flip_outputs(flip_outputs(outputs, spec), spec)
    assert twice.keys() == outputs.keys()
    for name, value in outputs.items():
        np.testing.assert_allclose(twice[name], value, atol=1e-4)


@pytest.mark.parametrize("kind", ["heatmap", "simcc", "keypoints"])
def test_flipping_mirrors_the_keypoints_and_swaps_the_sides(kind: str) -> None:
    outputs, spec = outputs_of(kind)
    before, scores = decode(outputs, spec)
    after, flipped_scores = decode(flip_outputs(outputs, spec), spec)
    order = list(spec.keypoints.flip_order)
    np.testing.assert_allclose(after[..., 0], 191 - before[:, order, 0], atol=2e-3)
    np.testing.assert_allclose(after[..., 1], before[:, order, 1], atol=2e-3)
    np.testing.assert_allclose(flipped_scores, scores[:, order], atol=1e-6)


def test_under_corner_alignment_the_mirrored_map_moves_by_a_cell() -> None:
    """Cell i covers pixels from 4 i on: mirrored, its content starts at the cell n - i."""
    maps = gaussians(np.full((1, 17, 2), (10, 20), float))
    (flipped,) = flip_outputs({"heatmaps": maps}, spec_of("argmax", "corner")).values()
    assert np.unravel_index(flipped[0, 0].argmax(), (64, 48)) == (20, 48 - 10)
    (shifted,) = flip_outputs({"heatmaps": maps}, spec_of("argmax")).values()
    assert np.unravel_index(shifted[0, 0].argmax(), (64, 48)) == (20, 47 - 10)


@pytest.mark.parametrize("kind", ["heatmap", "simcc", "keypoints"])
def test_an_output_that_is_not_there_is_named(kind: str) -> None:
    _, spec = outputs_of(kind)
    with pytest.raises(GraphError, match="has no output"):
        decode({"logits": np.zeros((1, 17, 4, 4))}, spec)
    with pytest.raises(GraphError, match="has no output"):
        flip_outputs({"logits": np.zeros((1, 17, 4, 4))}, spec)


@pytest.mark.parametrize("output", ["heatmap", "simcc"])
def test_broken_outputs_are_refused_not_drawn(output: str) -> None:
    if output == "heatmap":
        spec = heatmap_spec()
        outputs = {"heatmaps": np.zeros((1, 17, 16, 12), np.float32)}
    else:
        spec = heatmap_spec((32, 32), output="simcc", decoder=DecoderSpec(name="simcc"))
        outputs = {name: np.zeros((1, 17, 64), np.float32) for name in ("simcc_x", "simcc_y")}
    decode(outputs, spec)
    next(iter(outputs.values()))[0, 3] = np.nan
    with pytest.raises(GraphError, match="NaN"):
        decode(outputs, spec)


@pytest.mark.parametrize(("value", "fine"), [(3e38, True), (np.inf, False), (-np.inf, False)])
def test_huge_is_not_infinite(value: float, fine: bool) -> None:
    spec = heatmap_spec(SIZE, output="keypoints", decoder=DecoderSpec(name="none"))
    keypoints = np.full((1, 17, 2), value, np.float32)
    keypoints[0, 0] = -value  # opposite infinities
    outputs = {"keypoints": keypoints, "scores": np.ones((1, 17), np.float32)}
    with contextlib.nullcontext() if fine else pytest.raises(GraphError, match="infinity"):
        decode(outputs, spec)
