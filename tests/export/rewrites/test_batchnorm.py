from __future__ import annotations

import pytest
import torch
from torch import nn

from edgepose.export.rewrites.batchnorm import BATCHNORM, _into_next
from edgepose.models.mgil import MRIE
from edgepose.models.mitpose import PARTS, MapBlock, MitPose, MitPoseConfig, SCBlock, TokenBlock
from tests.export.rewrites.proof import operators, prove
from tests.export.tiny import lively


def test_in_front_of_a_pointwise_convolution() -> None:
    x = torch.randn(2, 32, 8, 6)
    block = lively(SCBlock(32, PARTS["edge"], grn=True), x)
    changed = prove(block, x, BATCHNORM, places=1)
    # SRU's own norm is read by a gate, not by a convolution: it stays.
    assert sum(isinstance(m, nn.BatchNorm2d) for m in changed.modules()) == 1


def test_in_a_block_of_maps() -> None:
    x = torch.randn(2, 32, 4, 6)
    changed = prove(lively(MapBlock(32, 4, PARTS["edge"]), x), x, BATCHNORM, places=2)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in changed.modules())


def test_behind_a_sum_of_depthwise_convolutions() -> None:
    x = torch.randn(2, 12, 9, 7)
    changed = prove(lively(MRIE(12), x), x, BATCHNORM, places=1)
    assert "BatchNormalization" not in operators(changed, x)


def test_the_last_norm_goes_into_the_decoder_of_the_edge_form_only() -> None:
    config = MitPoseConfig(
        widths=(16, 32, 48), sc_blocks=(1, 1, 1), depth=1, heads=4, decoder=(16, 16)
    )
    x = torch.randn(2, 3, 64, 48)
    for form, places in (("edge", 6), ("reference", 3)):
        net = MitPose((64, 48), 17, config, form)  # type: ignore[arg-type]
        with torch.no_grad():
            net.head.weight.mul_(100)
        head = _Maps(lively(net, x))
        prove(head, x, BATCHNORM, places)


def test_layer_norms_stay() -> None:
    x = torch.randn(2, 32, 4, 6)
    block = lively(TokenBlock(32, 4, PARTS["reference"]), x)
    assert BATCHNORM.apply(block) == 0


def test_a_padded_convolution_is_refused() -> None:
    with pytest.raises(AssertionError, match="1x1"):
        _into_next(nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1))


class _Maps(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps: torch.Tensor = self.net(x)["heatmaps"]
        return maps
