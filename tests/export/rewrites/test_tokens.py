from __future__ import annotations

import pytest
import torch
from torch import Tensor

from edgepose.export.rewrites.tokens import TOKENS
from edgepose.models.tokenpose import Encoder, KeypointTokens
from tests.export.rewrites.proof import operators, prove
from tests.export.tiny import lively

X = torch.randn(2, 6, 8, 9, generator=torch.Generator().manual_seed(0))


def tokens(depths: tuple[int, ...], kind: type[KeypointTokens] = KeypointTokens) -> KeypointTokens:
    torch.manual_seed(0)
    module = lively(kind(6, (8, 9), 5, Encoder(depths=depths, heads=2, channels=16)), X)
    assert isinstance(module, KeypointTokens)
    return module


@pytest.mark.parametrize("depths", [(3,), (2, 1, 2)])
@torch.no_grad()
def test_every_bit_is_kept(depths: tuple[int, ...]) -> None:
    module = tokens(depths)
    changed = prove(module, X, TOKENS, places=1)
    assert torch.equal(changed(X), module(X))


class InPlace(KeypointTokens):
    """Positions written into a part of the tokens, as the authors' code has it."""

    def placed(self, tokens: Tensor) -> Tensor:
        tokens[:, self.num_keypoints :] += self.position
        return tokens


def test_nothing_is_scattered_expanded_or_cut() -> None:
    in_place = operators(tokens((2,), InPlace), X)
    assert in_place["ScatterND"]  # what this rewrite is for
    assert operators(tokens((2,)), X)["Slice"] > 1
    changed = operators(prove(tokens((2,)), X, TOKENS, places=1), X)
    assert changed["Slice"] == 1  # the keypoints' tokens for the head
    assert not {"ScatterND", "Expand", "Shape", "Range", "Concat", "Where"} & set(changed)
