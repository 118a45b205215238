"""The plain heatmap model: a trunk that gives a quarter-resolution map, and one 1x1 convolution."""

from __future__ import annotations

from torch import Tensor, nn

from edgepose.models.layers import initialise_convs

__all__ = ["HeatmapModel"]


class HeatmapModel(nn.Module):
    """Heatmaps are a linear reading of the trunk's map.

    Args:
        trunk: (B, 3, H, W) -> (B, C, H/4, W/4).
        channels: C.
        num_keypoints: K.
    """

    def __init__(self, trunk: nn.Module, channels: int, num_keypoints: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = nn.Conv2d(channels, num_keypoints, 1)
        initialise_convs(self.head)
        # Targets are nearly zero nearly everywhere, so the heatmaps start near zero.
        nn.init.normal_(self.head.weight, std=0.001)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Normalised images (B, 3, H, W) to ``heatmaps`` (B, K, H/4, W/4)."""
        return {"heatmaps": self.head(self.trunk(images))}
