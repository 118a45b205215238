"""SimpleBaseline (Xiao et al., ECCV 2018): a ResNet and three transposed convolutions."""

from __future__ import annotations

from torch import Tensor, nn

from edgepose.models.heatmap import HeatmapModel
from edgepose.models.layers import doubling
from edgepose.models.resnet import RESNET_CHANNELS, ResNet, ResNetDownsampling

__all__ = ["TRUNK_CHANNELS", "SimpleBaselineTrunk", "simplebaseline"]

TRUNK_CHANNELS = 256
STEPS = 3  # from 1/32 to 1/4


class SimpleBaselineTrunk(nn.Module):
    """Images to one map at a quarter of their resolution, by way of 1/32 (section 2 of the paper).

    Args:
        downsampling: Makers of the ResNet's stride-2 layers.

    The images' height and width must be multiples of 32.
    """

    def __init__(self, downsampling: ResNetDownsampling | None = None) -> None:
        super().__init__()
        self.resnet = ResNet(downsampling=downsampling)
        self.upsampling = nn.Sequential(
            doubling(RESNET_CHANNELS, TRUNK_CHANNELS),
            *(doubling(TRUNK_CHANNELS, TRUNK_CHANNELS) for _ in range(STEPS - 1)),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) to (B, 256, H/4, W/4)."""
        finest: Tensor = self.upsampling(self.resnet(images))
        return finest


def simplebaseline(input_size: tuple[int, int], num_keypoints: int) -> HeatmapModel:
    """SimpleBaseline on ResNet-50.

    Args:
        input_size: (height, width), multiples of 32. The net is the same at every size.
        num_keypoints: K.
    """
    del input_size
    return HeatmapModel(SimpleBaselineTrunk(), TRUNK_CHANNELS, num_keypoints)
