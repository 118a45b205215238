from __future__ import annotations

import pytest
import torch
from torch import nn

from edgepose.models.catalogue.simplebaseline import MODELS
from edgepose.models.simplebaseline import SimpleBaselineTrunk, doubling
from tests.models.helpers import count_macs, count_params


def test_a_transposed_convolution_lets_every_cell_write_4x4_cells() -> None:
    torch.manual_seed(0)
    conv = doubling(3, 5)[0]
    x = torch.randn(2, 3, 4, 2)
    expected = torch.zeros(2, 5, 10, 6)  # with a rim of one cell, cut off in the end
    for row in range(4):
        for column in range(2):
            written = torch.einsum("bi,iohw->bohw", x[:, :, row, column], conv.weight)
            expected[:, :, 2 * row : 2 * row + 4, 2 * column : 2 * column + 4] += written
    torch.testing.assert_close(conv(x), expected[:, :, 1:-1, 1:-1])


def test_a_fresh_transposed_convolution_keeps_the_scale() -> None:
    torch.manual_seed(0)
    conv = doubling(256, 64)[0]
    x = torch.randn(4, 256, 8, 8).relu()  # of mean square 1/2
    with torch.no_grad():
        inner = conv(x)[..., 2:-2, 2:-2]
    assert float(inner.std()) == pytest.approx(1, rel=0.1)


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
