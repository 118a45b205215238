from __future__ import annotations

import pytest
import torch
from torch import nn

from edgepose.models.catalogue.simplebaseline import MODELS
from edgepose.models.simplebaseline import SimpleBaselineTrunk
from tests.models.helpers import count_macs, count_params


def test_three_steps_lead_from_1_32_to_1_4() -> None:
    with torch.device("meta"):
        trunk = SimpleBaselineTrunk()
        assert trunk.resnet(torch.empty(1, 3, 64, 32)).shape == (1, 2048, 2, 1)
        assert trunk(torch.empty(1, 3, 64, 32)).shape == (1, 256, 16, 8)
    upsampling = [m for m in trunk.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert [(m.in_channels, m.out_channels, m.bias) for m in upsampling] == [
        (2048, 256, None),
        (256, 256, None),
        (256, 256, None),
    ]
    assert count_params(trunk.upsampling) == 16 * 256 * (2048 + 256 + 256) + 3 * 2 * 256


def test_printed_figures_are_ours_after_conversion() -> None:
    """The printed rule charges transposed convolutions by their output's cells: four times over."""
    (entry,) = MODELS.values()
    printed = entry.printed
    assert printed.gflops is not None
    with torch.device("meta"):
        upsampling = SimpleBaselineTrunk().upsampling
    overcharge = 3 * count_macs(upsampling, 1, 2048, 8, 6) / 1e9
    assert printed.gmacs == pytest.approx(printed.gflops * 2**30 / 1e9 - overcharge, abs=0.005)
    assert printed.gmacs == pytest.approx(entry.gmacs, rel=0.02)
    assert printed.params_m == pytest.approx(entry.params / 1e6, abs=0.05)
