"""SimCC (Li et al., ECCV 2022): each coordinate as a classification over sub-pixel bins."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgepose.models.hrnet import Downsampling, HRNet
from edgepose.models.layers import initialise_convs
from edgepose.models.resnet import ResNetDownsampling
from edgepose.models.simplebaseline import TRUNK_CHANNELS, SimpleBaselineTrunk

__all__ = ["SimCC", "SimCCHead", "simcc", "simcc_resnet50"]

_HEAD = "head."
MARGINAL_GAIN = 0.7  # of the start's marginals: the logits stay well inside the softmax's range


class SimCCHead(nn.Module):
    """K representations of the map, each read by two linear layers that all keypoints share.

    Args:
        in_channels: Channels of the map.
        num_keypoints: K.
        input_size: (height, width) of the image the map was made from, at four times its size.
        split_ratio: Bins per pixel.
    """

    def __init__(
        self, in_channels: int, num_keypoints: int, input_size: tuple[int, int], split_ratio: float
    ) -> None:
        super().__init__()
        height, width = input_size
        self.cells = (height // 4, width // 4)
        self.bins_per_cell = 4 * split_ratio
        self.keypoint_maps = nn.Conv2d(in_channels, num_keypoints, 1)
        self.x = nn.Linear(math.prod(self.cells), round(width * split_ratio))
        self.y = nn.Linear(math.prod(self.cells), round(height * split_ratio))
        self._initialise(*self.cells)

    def _initialise(self, rows: int, columns: int) -> None:
        """Start as heatmaps whose marginals over rows and columns are the logits.

        So the maps have a place in the image from the first step on, instead of having to find one
        together with the layers. Noise makes the cells of a row or column differ.
        """
        initialise_convs(self)  # the maps are a feature here, not heatmaps: no tiny start
        over_columns = _bins_over_cells(self.x.out_features, columns) / rows**0.5
        over_rows = _bins_over_cells(self.y.out_features, rows) / columns**0.5
        for linear, marginal in (
            (self.x, over_columns[:, None, :].expand(-1, rows, -1)),  # (bins, rows, columns)
            (self.y, over_rows[:, :, None].expand(-1, -1, columns)),
        ):
            nn.init.normal_(linear.weight, std=0.01)
            nn.init.zeros_(linear.bias)
            with torch.no_grad():
                linear.weight.add_(marginal.flatten(1), alpha=MARGINAL_GAIN)

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """A map (B, C, H/4, W/4) to logits (B, K, W * split) and (B, K, H * split)."""
        tokens = self.keypoint_maps(features).flatten(2)  # (B, K, H/4 * W/4)
        return {"simcc_x": self.x(tokens), "simcc_y": self.y(tokens)}

    def resampled(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The head's weights from another input size, with the same number of bins per pixel.

        Of a picture and the same picture enlarged, with maps enlarged alike, the two sets of
        weights give the same distributions over the picture. A size less than half of the old one
        leaves cells unread and gives a rougher likeness.

        Args:
            tensors: By their names in this module, of whichever size.

        Returns:
            The same with the linear layers of this size. Those that are no layers of such a head
            come back as they are.
        """
        found = dict(tensors)
        rows, columns = (
            round(found[f"{axis}.bias"].numel() / self.bins_per_cell) for axis in ("y", "x")
        )
        for axis in ("x", "y"):
            layer: nn.Linear = getattr(self, axis)
            weight, bias = found[f"{axis}.weight"], found[f"{axis}.bias"]
            made_for = (bias.numel(), rows * columns)
            if weight.shape != made_for or bias.ndim != 1 or 0 in made_for:
                continue  # no layer of such a head: whoever loads it will say so
            if made_for == layer.weight.shape:
                continue
            grid = weight.float().reshape(-1, rows, columns)  # (bins, rows, columns)
            shape = (layer.out_features, *self.cells)
            grid = F.interpolate(grid[None, None], size=shape, mode="trilinear")[0, 0]
            # More cells see the same, and the sum over them must stay.
            share = rows * columns / layer.in_features
            found[f"{axis}.weight"] = (grid * share).flatten(1)  # (bins, rows * columns)
            stretched = F.interpolate(bias.float()[None, None], size=shape[0], mode="linear")
            found[f"{axis}.bias"] = stretched[0, 0]
        return found


def _bins_over_cells(bins: int, cells: int) -> Tensor:
    """(bins, cells) weights that interpolate linearly between the cells' centres."""
    centres = (torch.arange(bins) + 0.5) * (cells / bins) - 0.5
    return (1 - (centres[:, None] - torch.arange(cells)).abs()).clamp_min(0)


class SimCC(nn.Module):
    """A trunk that gives a quarter-resolution map, and the SimCC head.

    Args:
        trunk: (B, 3, H, W) -> (B, C, H/4, W/4).
        channels: C.
        num_keypoints: K.
        input_size: (height, width).
        split_ratio: Bins per pixel.
    """

    def __init__(
        self,
        trunk: nn.Module,
        channels: int,
        *,
        num_keypoints: int,
        input_size: tuple[int, int],
        split_ratio: float = 2.0,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = SimCCHead(channels, num_keypoints, input_size, split_ratio)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Normalised images (B, 3, H, W) to logits ``simcc_x`` and ``simcc_y``."""
        outputs: dict[str, Tensor] = self.head(self.trunk(images))
        return outputs

    def resampled(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights made at another input size as this size needs them; see ``load_weights``."""
        inside = {n.removeprefix(_HEAD): t for n, t in tensors.items() if n.startswith(_HEAD)}
        if not inside.keys() >= {"x.weight", "x.bias", "y.weight", "y.bias"}:
            return dict(tensors)
        fitted = self.head.resampled(inside)
        return {**tensors, **{_HEAD + name: tensor for name, tensor in fitted.items()}}


def simcc(
    input_size: tuple[int, int],
    num_keypoints: int,
    *,
    width: int,
    downsampling: Downsampling | None = None,
    split_ratio: float = 2.0,
) -> SimCC:
    """SimCC on HRNet.

    Args:
        input_size: (height, width), multiples of 32.
        num_keypoints: K.
        width: Channels W of HRNet's finest branch.
        downsampling: Makers of HRNet's stride-2 layers.
        split_ratio: Bins per pixel. The authors take 2 at 256x192 and at 128x128, 3 at 64x64.
    """
    return SimCC(
        HRNet(width, downsampling=downsampling),
        width,
        num_keypoints=num_keypoints,
        input_size=input_size,
        split_ratio=split_ratio,
    )


def simcc_resnet50(
    input_size: tuple[int, int],
    num_keypoints: int,
    *,
    downsampling: ResNetDownsampling | None = None,
    split_ratio: float = 2.0,
) -> SimCC:
    """SimCC on SimpleBaseline's ResNet-50, whose three transposed convolutions stay.

    Args:
        input_size: (height, width), multiples of 32.
        num_keypoints: K.
        downsampling: Makers of the ResNet's stride-2 layers.
        split_ratio: Bins per pixel. The authors take 2 at 256x192, 3 at 128x128 and at 64x64.
    """
    return SimCC(
        SimpleBaselineTrunk(downsampling),
        TRUNK_CHANNELS,
        num_keypoints=num_keypoints,
        input_size=input_size,
        split_ratio=split_ratio,
    )
