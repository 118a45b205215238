"""From raw outputs to keypoints in crop pixels: batched numpy, no loop over persons or joints."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from edgepose.errors import GraphError
from edgepose.poses import Float32
from edgepose.spec import Alignment, PoseSpec

__all__ = ["cells_to_pixels", "decode", "flip_outputs", "gaussian_matrix", "pixels_to_cells"]

Outputs = Mapping[str, npt.NDArray[Any]]


def cells_to_pixels(
    cells: npt.NDArray[np.floating], count: int, pixels: int, alignment: Alignment
) -> npt.NDArray[np.floating]:
    """Positions in cells (index coordinates of ``count`` cells) as positions in pixels."""
    if alignment == "half_pixel":
        return (cells + 0.5) * (pixels / count) - 0.5
    if alignment == "corner":
        return cells * (pixels / count)
    return cells * ((pixels - 1) / (count - 1))


def pixels_to_cells(
    position: npt.NDArray[np.floating], count: int, pixels: int, alignment: Alignment
) -> npt.NDArray[np.floating]:
    """Inverse of :func:`cells_to_pixels`."""
    if alignment == "half_pixel":
        return (position + 0.5) * (count / pixels) - 0.5
    if alignment == "corner":
        return position * (count / pixels)
    return position * ((count - 1) / (pixels - 1))


def decode(outputs: Outputs, spec: PoseSpec) -> tuple[Float32, Float32]:
    """Keypoints of a batch.

    Args:
        outputs: ``heatmaps`` (N, K, h, w); or ``simcc_x`` (N, K, W*split) and ``simcc_y``; or
            ``keypoints`` (N, K, 2) and ``scores`` (N, K).
        spec: The artefact's spec.

    Returns:
        (N, K, 2) float32 x and y in crop pixels, and (N, K) float32 scores in 0..1.

    Raises:
        GraphError: An output that the spec promises is not there, or holds NaN.
    """
    if spec.output == "heatmap":
        keypoints, scores = _decode_heatmaps(_take(outputs, "heatmaps"), spec)
    elif spec.output == "simcc":
        keypoints, scores = _decode_simcc(
            _take(outputs, "simcc_x"), _take(outputs, "simcc_y"), spec
        )
    else:
        keypoints = _take(outputs, "keypoints").astype(np.float32)
        scores = _take(outputs, "scores").astype(np.float32)
    # A maximum over NaN is NaN, so that the scores tell of any NaN before them.
    if not (np.isfinite(scores).all() and np.isfinite(keypoints).all()):
        raise GraphError(
            f"the outputs of {spec.model} hold NaN or infinity",
            "its weights are broken, or its precision overflows",
            "export it again in FP32",
        )
    return keypoints, scores


def flip_outputs(outputs: Outputs, spec: PoseSpec) -> dict[str, npt.NDArray[Any]]:
    """Outputs for a mirrored crop, as if the crop had not been mirrored.

    Mirrors each map (and swaps left and right keypoints), so that it can be averaged with the
    outputs of the unmirrored crop. Exact where the alignment is symmetric (``half_pixel``,
    ``unit``); under ``corner`` maps move by one cell, as their authors do it.
    """
    order = list(spec.keypoints.flip_order)
    if spec.output == "heatmap":
        maps = _take(outputs, "heatmaps")[:, order, :, ::-1]
        return {"heatmaps": _shifted(maps) if spec.decoder.alignment == "corner" else maps}
    if spec.output == "simcc":
        x = _take(outputs, "simcc_x")[:, order, ::-1]
        x = _shifted(x) if spec.decoder.alignment == "corner" else x
        return {"simcc_x": x, "simcc_y": _take(outputs, "simcc_y")[:, order]}
    keypoints = _take(outputs, "keypoints")[:, order].copy()
    keypoints[..., 0] = spec.input_size[1] - 1 - keypoints[..., 0]
    return {"keypoints": keypoints, "scores": _take(outputs, "scores")[:, order]}


def _take(outputs: Outputs, name: str) -> npt.NDArray[Any]:
    if name not in outputs:
        raise GraphError(
            f"the graph has no output '{name}'", f"its outputs are {', '.join(sorted(outputs))}"
        )
    return outputs[name]


def _shifted(mirrored: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Move one cell to the right along the last axis, repeating the first."""
    return np.concatenate([mirrored[..., :1], mirrored[..., :-1]], axis=-1)


def _decode_heatmaps(maps: npt.NDArray[Any], spec: PoseSpec) -> tuple[Float32, Float32]:
    maps = np.ascontiguousarray(maps, np.float32)
    n, k, h, w = maps.shape
    flat = maps.reshape(n * k, h * w)  # (N*K, h*w)
    peak = flat.argmax(1)
    scores = flat[np.arange(n * k), peak].reshape(n, k)
    row, column = np.divmod(peak, w)
    cells = np.stack([column, row], 1).astype(np.float32)  # (N*K, 2), x then y
    if spec.decoder.name == "quarter":
        cells += _quarter_offset(maps.reshape(-1, h, w), row, column)
    elif spec.decoder.name == "dark":
        cells += _dark_offset(maps.reshape(-1, h, w), row, column, spec.decoder.blur_kernel)
    height, width = spec.input_size
    pixels = np.empty_like(cells)
    pixels[:, 0] = cells_to_pixels(cells[:, 0], w, width, spec.decoder.alignment)
    pixels[:, 1] = cells_to_pixels(cells[:, 1], h, height, spec.decoder.alignment)
    return pixels.reshape(n, k, 2), scores.clip(0, 1)


def _quarter_offset(
    maps: Float32, row: npt.NDArray[np.intp], column: npt.NDArray[np.intp]
) -> Float32:
    """A quarter cell toward the larger neighbour, where both neighbours exist on both axes."""
    _, h, w = maps.shape
    inner = (column > 0) & (column < w - 1) & (row > 0) & (row < h - 1)
    each = np.arange(len(maps))
    r, c = row.clip(1, h - 2), column.clip(1, w - 2)
    dx = maps[each, r, c + 1] - maps[each, r, c - 1]
    dy = maps[each, r + 1, c] - maps[each, r - 1, c]
    offset = np.sign(np.stack([dx, dy], 1)) * np.float32(0.25)
    return np.where(inner[:, None], offset, 0).astype(np.float32)


def _dark_offset(
    maps: Float32, row: npt.NDArray[np.intp], column: npt.NDArray[np.intp], kernel: int
) -> Float32:
    """One Newton step on the smoothed log-heatmap (Zhang et al., CVPR 2020, eq. 9).

    The step is limited to one cell: beyond that the quadratic model says nothing.
    """
    _, h, w = maps.shape
    # Padding by repetition makes border derivatives vanish instead of dropping the joint.
    rows = (row[:, None] + np.arange(-2, 3)).clip(0, h - 1)  # (M, 5)
    columns = (column[:, None] + np.arange(-2, 3)).clip(0, w - 1)
    # Smoothed where it is looked at: 5x5 cells around each peak.
    over_rows = gaussian_matrix(h, kernel)[rows]  # (M, 5, h)
    over_columns = gaussian_matrix(w, kernel)[columns].transpose(0, 2, 1)  # (M, w, 5)
    near = np.log(np.maximum(over_rows @ maps @ over_columns, 1e-10))  # (M, 5, 5)
    along_x, along_y = near[:, 2], near[:, :, 2]
    corner = near[:, 1::2, 1::2]  # (M, 2, 2): the four diagonal neighbours
    dx = 0.5 * (along_x[:, 3] - along_x[:, 1])
    dy = 0.5 * (along_y[:, 3] - along_y[:, 1])
    dxx = 0.25 * (along_x[:, 4] - 2 * along_x[:, 2] + along_x[:, 0])
    dyy = 0.25 * (along_y[:, 4] - 2 * along_y[:, 2] + along_y[:, 0])
    dxy = 0.25 * (corner[:, 1, 1] - corner[:, 1, 0] - corner[:, 0, 1] + corner[:, 0, 0])
    determinant = dxx * dyy - dxy * dxy
    usable = determinant > 1e-12
    safe = np.where(usable, determinant, 1)
    offset = np.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], 1) / safe[:, None]
    return np.where(usable[:, None], offset.clip(-1, 1), 0).astype(np.float32)


@lru_cache(maxsize=32)
def gaussian_matrix(size: int, kernel: int) -> Float32:
    """(size, size) matrix whose product with a vector blurs it; zero beyond the ends.

    Sigma follows OpenCV's rule for a kernel of that width: 0.3 ((k - 1) / 2 - 1) + 0.8, which is
    2.0 for the usual 11.
    """
    sigma = 0.3 * ((kernel - 1) * 0.5 - 1) + 0.8
    distance = np.arange(size)[:, None] - np.arange(size)[None]
    matrix = np.exp(-(distance**2) / (2 * sigma**2)) * (np.abs(distance) <= kernel // 2)
    taps = np.exp(-(np.arange(-(kernel // 2), kernel // 2 + 1) ** 2) / (2 * sigma**2))
    normalised: Float32 = (matrix / taps.sum()).astype(np.float32)
    return normalised


def _decode_simcc(
    x: npt.NDArray[Any], y: npt.NDArray[Any], spec: PoseSpec
) -> tuple[Float32, Float32]:
    height, width = spec.input_size
    alignment = spec.decoder.alignment
    bin_x, score_x = _peak(x)
    bin_y, score_y = _peak(y)
    keypoints = np.empty((*bin_x.shape, 2), np.float32)  # (N, K, 2)
    keypoints[..., 0] = cells_to_pixels(bin_x, x.shape[-1], width, alignment)
    keypoints[..., 1] = cells_to_pixels(bin_y, y.shape[-1], height, alignment)
    return keypoints, np.minimum(score_x, score_y)


def _peak(logits: npt.NDArray[Any]) -> tuple[Float32, Float32]:
    """Argmax of each vector, and the softmax probability there: 1 / sum(exp(l - max))."""
    logits = logits.astype(np.float32, copy=False)
    best = logits.argmax(-1)
    above = logits - logits.max(-1, keepdims=True)
    np.exp(above, out=above)
    return best.astype(np.float32), 1 / above.sum(-1)
