from __future__ import annotations

import torch
from torch import nn

from edgepose.models.heatmap import HeatmapModel


def test_heatmaps_are_a_linear_reading_that_starts_near_zero() -> None:
    torch.manual_seed(0)
    trunk = nn.Conv2d(3, 6, 4, stride=4)
    model = HeatmapModel(trunk, 6, num_keypoints=5)
    images = torch.randn(2, 3, 16, 8)
    heatmaps = model(images)["heatmaps"]
    assert heatmaps.shape == (2, 5, 4, 2)
    kernel = model.head.weight[:, :, 0, 0]
    expected = torch.einsum("kc,bchw->bkhw", kernel, trunk(images))
    torch.testing.assert_close(heatmaps, expected)  # no bias at first
    assert 0 < heatmaps.abs().max() < 0.05
