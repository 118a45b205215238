from __future__ import annotations

import pytest
import torch
from torch import nn

from edgepose.models import build, spec_for
from edgepose.models.reach import zero_unreached


class Twice(nn.Module):
    """One layer at two sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).mean() + self.conv(x[..., :1, :1])


def test_of_a_single_cell_the_middle_is_met() -> None:
    conv = nn.Conv2d(3, 2, 3, padding=1)
    assert zero_unreached(conv, (1, 1)) == 2 * 3 * 8
    assert (conv.weight[:, :, 1, 1] != 0).all()
    assert zero_unreached(conv, (1, 1)) == 0


@pytest.mark.parametrize("size", [(1, 2), (2, 5), (3, 3), (7, 1)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dilation", [1, 2])
def test_what_has_no_gradient_is_zero(size: tuple[int, int], stride: int, dilation: int) -> None:
    conv = nn.Conv2d(3, 2, (3, 5), stride, padding=(dilation, 2 * dilation), dilation=dilation)
    conv(torch.rand(1, 3, *size) + 1).sum().backward()
    assert conv.weight.grad is not None
    zero_unreached(conv, size)
    assert torch.equal(conv.weight != 0, conv.weight.grad != 0)


def test_a_layer_that_is_used_twice_keeps_what_either_use_meets() -> None:
    net = Twice()
    assert zero_unreached(net, (3, 3)) == 0
    assert zero_unreached(net, (1, 1)) == 3 * 3 * 8


def test_two_layers_of_one_kernel_keep_what_either_meets() -> None:
    first, second = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, 3, padding=1)
    second.weight = first.weight
    assert zero_unreached(nn.Sequential(first, second), (3, 3)) == 0


def test_modes_and_computed_kernels_are_left_alone() -> None:
    normed = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 3, 3, padding=1))
    net = nn.Sequential(normed, nn.BatchNorm2d(3).eval())
    before = normed.weight.clone()
    assert zero_unreached(net, (1, 1)) == 0
    assert torch.equal(normed.weight, before)
    assert [part.training for part in net] == [True, False]


def test_a_net_computes_the_same_and_nearly_half_of_it_is_nothing() -> None:
    torch.manual_seed(0)
    net, size = build("mgil-w32-32").eval(), spec_for("mgil-w32-32").input_size
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        before = net(images)
        count = zero_unreached(net, size)
        after = net(images)
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, rtol=0, atol=1e-6 * float(value.abs().max()))
    assert count > 0.4 * sum(p.numel() for p in net.parameters())
