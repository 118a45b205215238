from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgepose.models.residual import BasicBlock, Bottleneck, strided_conv
from tests.models.helpers import enliven

X = torch.randn(2, 8, 6, 4, generator=torch.Generator().manual_seed(0))
BLOCKS = [lambda: BasicBlock(8), lambda: Bottleneck(8, 4, 8)]


def test_strided_conv_activates_only_if_asked() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 8, 8)
    assert strided_conv(3, 4, activate=True)(x).min() >= 0
    plain = strided_conv(3, 4, activate=False)(x)
    assert plain.shape == (2, 4, 4, 4)
    assert plain.min() < 0


@pytest.mark.parametrize("make", BLOCKS)
def test_a_fresh_block_is_its_skip(make) -> None:  # type: ignore[no-untyped-def]
    torch.testing.assert_close(make()(X), F.relu(X))


@pytest.mark.parametrize("make", BLOCKS)
def test_a_silent_branch_wakes(make) -> None:  # type: ignore[no-untyped-def]
    """At first only its last norm learns; from the second step on, all of it does."""
    torch.manual_seed(0)
    block = make()
    optimiser = torch.optim.SGD(block.parameters(), lr=0.1)
    for step in range(2):
        optimiser.zero_grad()
        (block(X) - 1).square().mean().backward()
        learning = {n for n, p in block.named_parameters() if p.grad.abs().max() > 0}  # type: ignore[union-attr]
        if step == 0:
            last = "conv2.1" if isinstance(block, BasicBlock) else "expand.1"
            assert learning == {f"{last}.weight", f"{last}.bias"}
        optimiser.step()
    assert learning == {n for n, _ in block.named_parameters()}


def test_a_bottleneck_projects_its_skip_where_the_channels_differ() -> None:
    assert isinstance(Bottleneck(8, 4, 8).skip, nn.Identity)
    block = enliven(Bottleneck(8, 4, 16)).eval()
    branch = block.expand(block.conv(block.reduce(X)))
    torch.testing.assert_close(block(X), F.relu(block.skip(X) + branch))
    assert block.skip(X).min() < 0  # the sum is activated, not its parts
    assert branch.min() < 0


def test_other_layers_can_take_a_bottlenecks_places() -> None:
    block = Bottleneck(8, 4, 16, conv=nn.AvgPool2d(2), skip=nn.Conv2d(8, 16, 1, stride=2))
    assert block(X).shape == (2, 16, 3, 2)
