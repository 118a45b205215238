"""Preprocessing and decoding inside the graph: uint8 pictures in, keypoints and scores out.

The normalisation is a product and a sum after the cast, not folded into the first convolution: its
zero padding stands for the mean colour, which no weights can imitate at the borders. The decoding
is that of :mod:`edgepose.decode`, line for line, in operators that every runtime has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from edgepose.decode import gaussian_matrix
from edgepose.spec import Alignment, DecoderSpec, PoseSpec

__all__ = ["FoldedIO", "folded_spec"]


def folded_spec(spec: PoseSpec) -> PoseSpec:
    """The spec of a graph that :class:`FoldedIO` made: BGR bytes as they are, no decoder."""
    return replace(
        spec,
        output="keypoints",
        decoder=DecoderSpec(name="none"),
        layout="nhwc",
        dtype="uint8",
        colour="bgr",
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
    )


class FoldedIO(nn.Module):
    """A model between its preprocessing and its decoder.

    Args:
        module: forward((B, 3, H, W) normalised) -> raw outputs.
        spec: The module's own spec (not the folded one).
    """

    def __init__(self, module: nn.Module, spec: PoseSpec) -> None:
        super().__init__()
        self.normalise = Normalise(spec)
        self.module = module
        self.decode: nn.Module = (
            DecodeHeatmaps(spec) if spec.output == "heatmap" else DecodeSimCC(spec)
        )
        self.eval()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(B, H, W, 3) uint8 BGR to ``keypoints`` (B, K, 2) in crop pixels and ``scores``."""
        keypoints, scores = self.decode(self.module(self.normalise(images)))
        return {"keypoints": keypoints, "scores": scores}


class Normalise(nn.Module):
    """Bytes as they come to what the module takes."""

    order: Tensor
    scale: Tensor
    shift: Tensor

    def __init__(self, spec: PoseSpec) -> None:
        super().__init__()
        self.reverse = spec.colour == "rgb"
        self.register_buffer("order", torch.tensor([2, 1, 0]))
        scale = 1 / torch.tensor(spec.std)
        self.register_buffer("scale", scale[:, None, None])
        self.register_buffer("shift", (-torch.tensor(spec.mean) * scale)[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 BGR to (B, 3, H, W) float32."""
        # Cast first: TensorRT takes bytes as an input, but computes nothing in them.
        planes = images.float().permute(0, 3, 1, 2)  # (B, 3, H, W)
        if self.reverse:
            planes = planes.index_select(1, self.order)
        return planes * self.scale + self.shift


class DecodeHeatmaps(nn.Module):
    """Argmax, quarter offset or DARK."""

    blur_rows: Tensor
    blur_columns: Tensor

    def __init__(self, spec: PoseSpec) -> None:
        super().__init__()
        self.spec = spec
        if spec.decoder.name == "dark":
            h, w = (v // 4 for v in spec.input_size)
            kernel = spec.decoder.blur_kernel
            self.register_buffer("blur_rows", torch.from_numpy(gaussian_matrix(h, kernel)))
            self.register_buffer(
                "blur_columns", torch.from_numpy(gaussian_matrix(w, kernel).T.copy())
            )

    def forward(self, outputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Maps (B, K, h, w) to (B, K, 2) and (B, K)."""
        maps = outputs["heatmaps"]
        h, w = maps.shape[2:]
        flat = maps.flatten(2)  # (B, K, h*w)
        peak = flat.argmax(-1, keepdim=True)  # (B, K, 1)
        scores = flat.amax(-1).clamp(0, 1)
        # In floats, where they are exact: integer division is half a dozen operators in ONNX. The
        # half keeps the quotient off the whole numbers.
        row = ((peak.float() + 0.5) / w).floor()
        column = peak.float() - row * w
        x, y = column, row  # (B, K, 1) each, in cells
        if self.spec.decoder.name == "quarter":
            dx, dy = _quarter_offset(flat, row, column, h, w)
            x, y = x + dx, y + dy
        elif self.spec.decoder.name == "dark":
            smooth = (self.blur_rows @ maps @ self.blur_columns).flatten(2)
            dx, dy = _dark_offset(smooth, row, column, h, w)
            x, y = x + dx, y + dy
        height, width = self.spec.input_size
        alignment = self.spec.decoder.alignment
        x = _cells_to_pixels(x, w, width, alignment)
        y = _cells_to_pixels(y, h, height, alignment)
        return torch.cat([x, y], -1), scores


class DecodeSimCC(nn.Module):
    """Argmax of each vector, and the softmax probability there."""

    def __init__(self, spec: PoseSpec) -> None:
        super().__init__()
        self.spec = spec

    def forward(self, outputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Logits (B, K, bins) of both axes to (B, K, 2) and (B, K)."""
        height, width = self.spec.input_size
        positions, probabilities = [], []
        for logits, pixels in ((outputs["simcc_x"], width), (outputs["simcc_y"], height)):
            best = logits.argmax(-1).float()  # (B, K)
            bins = logits.shape[-1]
            positions.append(_cells_to_pixels(best, bins, pixels, self.spec.decoder.alignment))
            top = logits.amax(-1, keepdim=True)
            probabilities.append(1 / (logits - top).exp().sum(-1))
        return torch.stack(positions, -1), torch.minimum(*probabilities)


def _cells_to_pixels(cells: Tensor, count: int, pixels: int, alignment: Alignment) -> Tensor:
    """:func:`edgepose.decode.cells_to_pixels`."""
    if alignment == "half_pixel":
        return (cells + 0.5) * (pixels / count) - 0.5
    if alignment == "corner":
        return cells * (pixels / count)
    return cells * ((pixels - 1) / (count - 1))


def _quarter_offset(
    flat: Tensor, row: Tensor, column: Tensor, h: int, w: int
) -> tuple[Tensor, Tensor]:
    """A quarter cell toward the larger neighbour, where both neighbours exist on both axes."""
    inner = (column > 0) & (column < w - 1) & (row > 0) & (row < h - 1)  # (B, K, 1)
    middle = row.clamp(1, h - 2) * w + column.clamp(1, w - 2)
    index = torch.cat([middle + 1, middle - 1, middle + w, middle - w], -1)  # (B, K, 4)
    right, left, below, above = flat.gather(2, index.long()).chunk(4, -1)
    dx, dy = ((more - less).sign() * 0.25 for more, less in ((right, left), (below, above)))
    return torch.where(inner, dx, 0.0), torch.where(inner, dy, 0.0)


def _dark_offset(
    smooth: Tensor, row: Tensor, column: Tensor, h: int, w: int
) -> tuple[Tensor, Tensor]:
    """One Newton step on the smoothed log-heatmap; see :func:`edgepose.decode.decode`."""
    steps = torch.arange(-2.0, 3.0, device=row.device)
    rows = (row + steps).clamp(0, h - 1)  # (B, K, 5)
    columns = (column + steps).clamp(0, w - 1)
    _, above, _, below, _ = rows.chunk(5, -1)
    _, left, _, right, _ = columns.chunk(5, -1)
    index = torch.cat(
        [
            row * w + columns,
            rows * w + column,
            above * w + left,
            above * w + right,
            below * w + left,
            below * w + right,
        ],
        -1,
    )  # (B, K, 14)
    values = smooth.gather(2, index.long()).clamp_min(1e-10).log()
    x0, x1, x2, x3, x4, y0, y1, y2, y3, y4, c00, c01, c10, c11 = values.chunk(14, -1)
    dx = 0.5 * (x3 - x1)
    dy = 0.5 * (y3 - y1)
    dxx = 0.25 * (x4 - 2 * x2 + x0)
    dyy = 0.25 * (y4 - 2 * y2 + y0)
    dxy = 0.25 * (c11 - c10 - c01 + c00)
    determinant = dxx * dyy - dxy * dxy
    usable = determinant > 1e-12
    safe = torch.where(usable, determinant, 1.0)
    step_x = ((dxy * dy - dyy * dx) / safe).clamp(-1, 1)
    step_y = ((dxy * dx - dxx * dy) / safe).clamp(-1, 1)
    return torch.where(usable, step_x, 0.0), torch.where(usable, step_y, 0.0)
