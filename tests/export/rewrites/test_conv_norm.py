from __future__ import annotations

import pytest
import torch
from torch import nn

from edgepose.export.rewrites.conv_norm import CONV_NORM
from tests.export.rewrites.proof import operators, prove
from tests.export.tiny import lively

PAIRS = {
    "plain": nn.Conv2d(6, 8, 3, stride=2, padding=1, bias=False),
    "biased": nn.Conv2d(6, 8, 1),
    "grouped": nn.Conv2d(6, 8, 3, padding=1, groups=2, bias=False),
    "transposed": nn.ConvTranspose2d(6, 8, 4, stride=2, padding=1, bias=False),
    "transposed, biased": nn.ConvTranspose2d(6, 8, 4, stride=2, padding=1),
}


@pytest.mark.parametrize("kind", PAIRS)
def test_a_norm_behind_a_convolution(kind: str) -> None:
    x = torch.randn(3, 6, 8, 10)
    block = lively(nn.Sequential(PAIRS[kind], nn.BatchNorm2d(8), nn.ReLU()), x)
    changed = prove(block, x, CONV_NORM, places=1)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in changed.modules())


def test_the_graph_is_the_one_without_norms() -> None:
    x = torch.randn(2, 6, 8, 10)
    layers = (nn.Conv2d(6, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
    changed = prove(lively(nn.Sequential(*layers, nn.Conv2d(8, 4, 1)), x), x, CONV_NORM, places=1)
    assert operators(changed, x) == {"Conv": 2, "Relu": 1}


@pytest.mark.parametrize(
    "layers",
    [
        (nn.Conv2d(6, 8, 1), nn.ReLU(), nn.BatchNorm2d(8)),
        (nn.BatchNorm2d(6), nn.Conv2d(6, 8, 1)),
        (nn.ConvTranspose2d(6, 8, 4, groups=2), nn.BatchNorm2d(8)),
    ],
)
def test_any_other_norm_stays(layers: tuple[nn.Module, ...]) -> None:
    assert CONV_NORM.apply(nn.Sequential(nn.Sequential(*layers))) == 0
