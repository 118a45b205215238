"""SimCC (Li et al., ECCV 2022): each coordinate as a classification over sub-pixel bins."""

from __future__ import annotations

from torch import Tensor, nn

from edgepose.models.hrnet import Downsampling, HRNet
from edgepose.models.layers import initialise_convs

__all__ = ["SimCC", "SimCCHead", "simcc"]


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
        cells = (height // 4) * (width // 4)
        self.keypoint_maps = nn.Conv2d(in_channels, num_keypoints, 1)
        self.x = nn.Linear(cells, round(width * split_ratio))
        self.y = nn.Linear(cells, round(height * split_ratio))
        initialise_convs(self)  # the maps are a feature here, not heatmaps: no tiny start
        for linear in (self.x, self.y):
            nn.init.normal_(linear.weight, std=0.01)
            nn.init.zeros_(linear.bias)

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """A map (B, C, H/4, W/4) to logits (B, K, W * split) and (B, K, H * split)."""
        tokens = self.keypoint_maps(features).flatten(2)  # (B, K, H/4 * W/4)
        return {"simcc_x": self.x(tokens), "simcc_y": self.y(tokens)}


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


def simcc(
    input_size: tuple[int, int],
    num_keypoints: int,
    *,
    width: int = 32,
    downsampling: Downsampling | None = None,
    split_ratio: float = 2.0,
) -> SimCC:
    """SimCC on HRNet of the given width."""
    return SimCC(
        HRNet(width, downsampling=downsampling),
        width,
        num_keypoints=num_keypoints,
        input_size=input_size,
        split_ratio=split_ratio,
    )
