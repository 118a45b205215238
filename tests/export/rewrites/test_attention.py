from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from edgepose.export.rewrites.attention import ATTENTION
from edgepose.models.encoder import Attention, TokenAttention
from edgepose.models.mitpose import MapAttention
from tests.export.rewrites.proof import operators, prove
from tests.export.tiny import lively


def test_on_maps() -> None:
    x = torch.randn(2, 32, 4, 6)
    changed = prove(lively(MapAttention(32, 4), x), x, ATTENTION, places=1)
    found = operators(changed, x)
    assert found["MatMul"] == 2
    assert not {"Mul", "Split", "Slice", "Attention"} & set(found)


def test_on_tokens() -> None:
    x = torch.randn(2, 24, 32)
    changed = prove(lively(TokenAttention(32, 4), x), x, ATTENTION, places=1)
    found = operators(changed, x)
    assert found["Softmax"] == 1
    assert not {"Mul", "Split", "Slice", "Shape", "Attention"} & set(found)


class Positioned(nn.Module):
    """An attention with a constant for its positions."""

    def __init__(self, attention: Attention, position: Tensor) -> None:
        super().__init__()
        self.attention = attention
        self.register_buffer("position", position)

    def forward(self, x: Tensor) -> Tensor:
        attended: Tensor = self.attention(x, self.position)
        return attended


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("heads", [1, 4])
def test_with_positions(heads: int, bias: bool) -> None:
    x = torch.randn(2, 24, 32)
    block = Positioned(Attention(32, heads, bias=bias, dropout=0.1), torch.randn(1, 24, 32))
    changed = prove(lively(block, x), x, ATTENTION, places=1)
    found = operators(changed, x)
    assert found["Softmax"] == 1
    assert not {"Mul", "Split", "Slice", "Shape", "Attention", "Dropout"} & set(found)
    if heads == 1:  # nothing to split, nothing to join
        assert not found["Reshape"]
        assert found["Transpose"] <= 1
