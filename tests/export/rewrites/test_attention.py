from __future__ import annotations

import torch

from edgepose.export.rewrites.attention import ATTENTION
from edgepose.models.mitpose import MapAttention, TokenAttention
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
