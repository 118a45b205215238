from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from edgepose.models.layers import doubling
from tests.models.helpers import enliven


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


@torch.no_grad()
def test_doubling_is_the_transposed_convolution_written_out() -> None:
    torch.manual_seed(0)
    layer = enliven(doubling(6, 4)).eval()
    conv, norm = layer[0], layer[1]
    x = torch.randn(2, 6, 3, 2)
    # Zeros between the cells, three more around them, the kernel turned round.
    spread = torch.zeros(2, 6, 2 * 3 - 1, 2 * 2 - 1)
    spread[:, :, ::2, ::2] = x
    kernel = conv.weight.transpose(0, 1).flip(2, 3)
    out = F.conv2d(F.pad(spread, [2, 2, 2, 2]), kernel)
    scale = norm.weight / (norm.running_var + 1e-5).sqrt()
    shift = norm.bias - norm.running_mean * scale
    expected = (out * scale[:, None, None] + shift[:, None, None]).relu()
    assert expected.shape == (2, 4, 6, 4)
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)
