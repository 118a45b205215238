from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from edgepose.models.encoder import Attention, LayerScale, PostNormLayer, PreNormLayer
from tests.models.helpers import enliven


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def joint(*layers: nn.Linear) -> Tensor:
    return torch.cat([layer.weight for layer in layers])


def fill_attention(theirs: nn.MultiheadAttention, ours: Attention) -> None:
    theirs.in_proj_weight.copy_(joint(ours.q, ours.k, ours.v))
    if ours.q.bias is None:
        theirs.in_proj_bias.zero_()
    else:
        theirs.in_proj_bias.copy_(torch.cat([part.bias for part in (ours.q, ours.k, ours.v)]))
    theirs.out_proj.load_state_dict(ours.project.state_dict())


@torch.no_grad()
def torchs(ours: PostNormLayer | PreNormLayer, heads: int) -> nn.TransformerEncoderLayer:
    """PyTorch's own layer with the same weights."""
    post = isinstance(ours, PostNormLayer)
    theirs = nn.TransformerEncoderLayer(
        ours.mlp.expand.in_features,
        heads,
        ours.mlp.expand.out_features,
        dropout=0.0,
        activation="relu" if post else "gelu",
        norm_first=not post,
        batch_first=True,
    )
    fill_attention(theirs.self_attn, ours.attention)
    theirs.linear1.load_state_dict(ours.mlp.expand.state_dict())
    theirs.linear2.load_state_dict(ours.mlp.project.state_dict())
    theirs.norm1.load_state_dict(ours.norm_attention.state_dict())
    theirs.norm2.load_state_dict(ours.norm_mlp.state_dict())
    return theirs.eval()


def loud(layer: nn.Module) -> nn.Module:
    """Attention far from uniform, so that a wrong scale or order shows."""
    layer = enliven(layer).eval()
    with torch.no_grad():
        for part in layer.modules():
            if isinstance(part, Attention):
                part.q.weight.mul_(4)
    return layer


@pytest.mark.parametrize("heads", [1, 4])
def test_post_norm_layer_is_pytorch_s(heads: int) -> None:
    layer = loud(PostNormLayer(32, heads, 48, dropout=0.1))
    x = torch.randn(2, 9, 32)
    expected = torchs(layer, heads)(x)
    torch.testing.assert_close(layer(x, torch.zeros(1, 9, 32)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("heads", [1, 4])
def test_pre_norm_layer_is_pytorch_s(heads: int) -> None:
    layer = loud(PreNormLayer(32, heads, 96))
    assert layer.attention.q.bias is layer.attention.k.bias is layer.attention.v.bias is None
    x = torch.randn(2, 9, 32)
    torch.testing.assert_close(layer(x), torchs(layer, heads)(x), rtol=1e-4, atol=1e-5)


def test_positions_are_seen_by_queries_and_keys_only() -> None:
    attention = loud(Attention(32, 4, bias=True))
    theirs = nn.MultiheadAttention(32, 4, batch_first=True)
    with torch.no_grad():
        fill_attention(theirs, attention)
    x, position = torch.randn(2, 9, 32), torch.randn(1, 9, 32)
    located = x + position
    expected, _ = theirs(located, located, x)
    torch.testing.assert_close(attention(x, position), expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(attention(x, position), attention(x), atol=1e-2)
    assert not torch.allclose(attention(x, position), attention(located), atol=1e-2)


def test_gains_weigh_the_residual_branches() -> None:
    layer = loud(PreNormLayer(16, 2, 32, gain=0.1))
    x = torch.randn(2, 5, 16)
    g1, g2 = layer.gain_attention.gain, layer.gain_mlp.gain
    assert g1.shape == g2.shape == (16,)
    with torch.no_grad():
        y = x + layer.attention(layer.norm_attention(x)) @ torch.diag(g1)
        y = y + layer.mlp(layer.norm_mlp(y)) @ torch.diag(g2)
    torch.testing.assert_close(layer(x), y)


def test_gains_start_where_they_are_told_to() -> None:
    layer = PreNormLayer(16, 2, 32, gain=1e-5)
    for gain in (layer.gain_attention, layer.gain_mlp):
        assert isinstance(gain, LayerScale)
        assert gain.gain.requires_grad
        assert torch.equal(gain.gain.detach(), torch.full((16,), 1e-5))
    assert not any(isinstance(m, LayerScale) for m in PreNormLayer(16, 2, 32).modules())


def test_dropout_acts_in_training_only() -> None:
    layer = loud(PostNormLayer(16, 1, 32, dropout=0.5))
    x, position = torch.randn(1, 6, 16), torch.zeros(1, 6, 16)
    assert torch.equal(layer(x, position), layer(x, position))
    layer.train()
    assert not torch.equal(layer(x, position), layer(x, position))


def test_heads_must_divide_the_channels() -> None:
    with pytest.raises(AssertionError, match="30 channels do not split into 4 heads"):
        Attention(30, 4, bias=True)
