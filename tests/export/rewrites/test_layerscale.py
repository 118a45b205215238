from __future__ import annotations

import torch
from torch import nn

from edgepose.export.rewrites.layerscale import LAYERSCALE
from edgepose.models.encoder import LayerScale, PreNormLayer
from tests.export.rewrites.proof import operators, prove
from tests.export.tiny import lively


def test_in_a_layer() -> None:
    x = torch.randn(2, 7, 32)
    layer = lively(PreNormLayer(32, 4, 96, gain=0.1), x)
    changed = prove(layer, x, LAYERSCALE, places=2)
    assert not any(isinstance(m, LayerScale) for m in changed.modules())
    products = operators(layer, x)["Mul"] - operators(changed, x)["Mul"]
    assert products == 2


def test_weights_and_bias_are_rounded_once() -> None:
    """A gain of 1e-5 times a weight: the FP64 product to the nearest FP32."""
    layer = nn.Sequential(PreNormLayer(16, 2, 32, gain=1e-5))
    torch.manual_seed(0)
    with torch.no_grad():
        layer[0].gain_mlp.gain.mul_(torch.rand(16))
        layer[0].mlp.project.bias.normal_()
        gain = layer[0].gain_mlp.gain.double()
        weight = gain[:, None] * layer[0].mlp.project.weight.double()
        bias = gain * layer[0].mlp.project.bias.double()
    assert LAYERSCALE.apply(layer) == 2
    assert torch.equal(layer[0].mlp.project.weight, weight.float())
    assert torch.equal(layer[0].mlp.project.bias, bias.float())


def test_a_layer_without_gains_is_left_alone() -> None:
    assert LAYERSCALE.apply(nn.Sequential(PreNormLayer(16, 2, 32))) == 0
