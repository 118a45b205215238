from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgepose.models.encoder import TokenAttention
from edgepose.models.mitpose import (
    CRU,
    GRN,
    PARTS,
    ChannelLayerNorm,
    DecoderStep,
    Local,
    MapAttention,
    SCBlock,
    SmoothSRU,
    ThresholdSRU,
    TokenBlock,
    mitpose_lite,
)
from tests.models.helpers import enliven


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@torch.no_grad()
def naive_grn(x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    """ConvNeXt V2's formula as printed, in FP64."""
    x, gain, shift = x.double(), gain.double(), shift.double()
    norms = torch.tensor([[float((c**2).sum()) ** 0.5 for c in item] for item in x]).double()
    relative = norms / (norms.mean(1, keepdim=True) + 1e-6)
    return gain * x * relative[:, :, None, None] + shift + x


def test_grn_is_the_printed_formula() -> None:
    grn = enliven(GRN(12))
    x = torch.randn(2, 12, 7, 5) * torch.logspace(-3, 2, 12)[:, None, None]
    expected = naive_grn(x, grn.gain, grn.shift).float()
    torch.testing.assert_close(grn(x), expected, rtol=1e-5, atol=1e-6)


def test_grn_starts_as_the_identity() -> None:
    x = torch.randn(2, 6, 4, 3)
    assert torch.equal(GRN(6)(x), x)


def test_grn_survives_fp16_where_the_plain_sum_of_squares_does_not() -> None:
    grn = enliven(GRN(16))
    x = (6 * torch.randn(2, 16, 64, 48)).half()
    assert (x * x).sum((2, 3)).isinf().any()
    expected = naive_grn(x, grn.gain, grn.shift)
    with torch.no_grad():
        out = grn.half()(x)
    assert out.isfinite().all()
    assert float((out - expected).abs().max() / expected.abs().max()) < 3e-3


def test_grn_of_a_dead_channel_has_a_finite_gradient() -> None:
    x = torch.randn(1, 4, 3, 3)
    x[:, 1] = 0
    x.requires_grad_()
    enliven(GRN(4))(x).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def naive_group_norm(x: Tensor, groups: int, weight: Tensor, bias: Tensor) -> Tensor:
    out = torch.empty_like(x)
    size = x.shape[1] // groups
    for item in range(x.shape[0]):
        for group in range(groups):
            part = x[item, group * size : (group + 1) * size]
            normed = (part - part.mean()) / (part.var(unbiased=False) + 1e-5).sqrt()
            out[item, group * size : (group + 1) * size] = normed
    return out * weight[:, None, None] + bias[:, None, None]


def test_threshold_sru_is_the_published_rule() -> None:
    sru = enliven(ThresholdSRU(8))
    x = torch.randn(2, 8, 5, 3)
    gamma = sru.norm.weight
    normed = naive_group_norm(x, 4, gamma, sru.norm.bias)
    gate = 1 / (1 + torch.exp(-normed * (gamma / gamma.sum())[:, None, None]))
    high, low = torch.empty_like(x), torch.empty_like(x)
    for index in torch.cartesian_prod(*map(torch.arange, x.shape)).tolist():
        b, c, i, j = index
        above = gate[b, c, i, j] > 0.5
        high[b, c, i, j] = x[b, c, i, j] if above else gate[b, c, i, j] * x[b, c, i, j]
        low[b, c, i, j] = 0 if above else gate[b, c, i, j] * x[b, c, i, j]
    assert 0.1 < (gate > 0.5).float().mean() < 0.9
    expected = torch.cat([high[:, :4] + low[:, 4:], high[:, 4:] + low[:, :4]], dim=1)
    torch.testing.assert_close(sru(x), expected)


def test_smooth_sru_splits_x_in_two_and_crosses_the_halves() -> None:
    sru = enliven(SmoothSRU(8)).eval()
    x = torch.randn(2, 8, 5, 3)
    norm = sru.norm
    normed = (x - norm.running_mean[:, None, None]) / (
        norm.running_var[:, None, None] + 1e-5
    ).sqrt() * norm.weight[:, None, None] + norm.bias[:, None, None]
    gate = 1 / (1 + torch.exp(-normed))
    high, low = gate * x, (1 - gate) * x
    expected = torch.cat([high[:, :4] + low[:, 4:], high[:, 4:] + low[:, :4]], dim=1)
    torch.testing.assert_close(sru(x), expected)


@pytest.mark.parametrize(("unit", "jumps"), [(ThresholdSRU, True), (SmoothSRU, False)])
def test_only_the_threshold_jumps(unit: type[nn.Module], jumps: bool) -> None:
    """Two neighbouring FP16 inputs around the point where the norm is zero."""
    sru = unit(8).eval()
    x = torch.tensor([2.0] + 64 * [1.0] + 64 * [3.0]).expand(1, 8, 1, -1)  # mean 2
    below, above = x.clone(), x.clone()
    below[:, :4, :, 0] -= 0.002  # one half only: in both, the two jumps would cancel out
    above[:, :4, :, 0] += 0.002
    with torch.no_grad():
        step = float((sru(above) - sru(below))[..., 0].abs().max())
    assert (step > 0.5) is jumps


def naive_conv(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """A grouped "same" convolution written out, window by window."""
    padding, size = conv.padding[0], conv.kernel_size[0]  # type: ignore[index]
    height, width = x.shape[2:]
    padded = F.pad(x, [padding] * 4)
    per_group_in, per_group_out = x.shape[1] // conv.groups, conv.out_channels // conv.groups
    out = torch.zeros(x.shape[0], conv.out_channels, height, width)
    for channel in range(conv.out_channels):
        group = channel // per_group_out
        source = padded[:, group * per_group_in : (group + 1) * per_group_in]
        for row in range(size):
            for column in range(size):
                window = source[:, :, row : row + height, column : column + width]
                kernel = conv.weight[channel, :, row, column][:, None, None]
                out[:, channel] += (window * kernel).sum(1)
        if conv.bias is not None:
            out[:, channel] += conv.bias[channel]
    return out


def test_cru_is_the_published_rule() -> None:
    cru = enliven(CRU(16))
    x = torch.randn(2, 16, 5, 3)
    upper = naive_conv(x[:, :8], cru.squeeze_upper)
    lower = naive_conv(x[:, 8:], cru.squeeze_lower)
    assert cru.upper_group.groups == 2
    rich = naive_conv(upper, cru.upper_group) + naive_conv(upper, cru.upper_point)
    cheap = torch.cat([naive_conv(lower, cru.lower_point), lower], dim=1)
    means = torch.cat([rich, cheap], dim=1).mean((2, 3))
    shares = means.exp() / means.exp().sum(1, keepdim=True)
    shares = shares[:, :, None, None]
    torch.testing.assert_close(cru(x), rich * shares[:, :16] + cheap * shares[:, 16:])


@pytest.mark.parametrize("form", ["edge", "reference"])
def test_local_runs_three_kernels_on_three_thirds(form: str) -> None:
    parts = PARTS[form]  # type: ignore[index]
    local = enliven(Local(4, parts))
    x = torch.randn(2, 4, 6, 5)
    act = F.relu if form == "edge" else F.gelu
    wide = act(naive_conv(x, local.expand))
    assert [conv.kernel_size[0] for conv in local.convs] == [3, 5, 7]
    thirds = [
        wide[:, 4 * i : 4 * i + 4] + naive_conv(wide[:, 4 * i : 4 * i + 4], conv)
        for i, conv in enumerate(local.convs)
    ]
    mixed = act(torch.cat(thirds, dim=1))
    mixed = naive_grn(mixed, local.grn.gain, local.grn.shift).float()
    torch.testing.assert_close(local(x), naive_conv(mixed, local.project), rtol=1e-4, atol=1e-5)


def naive_attention(x: Tensor, attention: MapAttention | TokenAttention) -> Tensor:
    """Softmax attention head by head and query by query, on tokens (B, T, d)."""
    channels, heads = x.shape[2], attention.heads
    size = channels // heads
    qkv = x @ attention.qkv.weight.flatten(1).T + attention.qkv.bias
    out = torch.empty_like(x)
    for item in range(x.shape[0]):
        q, k, v = qkv[item].split(channels, dim=1)
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            for token in range(x.shape[1]):
                scores = (k[:, part] @ q[token, part]) / size**0.5
                out[item, token, part] = scores.softmax(0) @ v[:, part]
    return out @ attention.project.weight.flatten(1).T + attention.project.bias


def test_both_attentions_are_softmax_attention() -> None:
    x = torch.randn(2, 16, 4, 3)
    tokens = x.flatten(2).transpose(1, 2)
    on_tokens = enliven(TokenAttention(16, 4))
    on_maps = enliven(MapAttention(16, 4))
    for attention in (on_tokens, on_maps):
        nn.init.normal_(attention.qkv.weight, std=0.5)  # far from uniform attention
    torch.testing.assert_close(on_tokens(tokens), naive_attention(tokens, on_tokens))
    expected = naive_attention(tokens, on_maps).transpose(1, 2).unflatten(2, (4, 3))
    torch.testing.assert_close(on_maps(x), expected)


def test_token_block_is_pre_norm_with_two_skips() -> None:
    block = enliven(TokenBlock(16, 4, PARTS["reference"]))
    x = torch.randn(2, 16, 4, 3)
    tokens = x.flatten(2).transpose(1, 2)
    tokens = tokens + naive_attention(block.norm_global(tokens), block.attention)
    as_map = tokens.transpose(1, 2).reshape(2, 16, 4, 3)
    normed = block.norm_local(tokens).transpose(1, 2).reshape(2, 16, 4, 3)
    torch.testing.assert_close(block(x), as_map + block.local(normed))


def test_channel_layer_norm_normalises_each_cell() -> None:
    out = ChannelLayerNorm(32)(3 + 2 * torch.randn(2, 32, 4, 3))
    torch.testing.assert_close(out.mean(1), torch.zeros(2, 4, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.std(1, unbiased=False), torch.ones(2, 4, 3), atol=1e-3, rtol=0)


def test_decoder_step_doubles_the_map_and_reads_the_skip() -> None:
    step = enliven(DecoderStep(8, 6, 4)).eval()
    x, skip = torch.randn(2, 8, 3, 2), torch.randn(2, 6, 6, 4)
    out = step(x, skip)
    assert out.shape == (2, 4, 6, 4)
    assert not torch.allclose(out, step(x, -skip))
    assert not torch.allclose(out, step(-x, skip))


def test_forms_hold_the_units_they_promise() -> None:
    with torch.device("meta"):
        edge = mitpose_lite((64, 48), 17)
        reference = mitpose_lite((64, 48), 17, form="reference")

    def kinds(net: nn.Module) -> set[type[nn.Module]]:
        return {type(m) for m in net.modules()}

    assert not kinds(edge) & {nn.GroupNorm, nn.LayerNorm, nn.GELU, nn.Linear, ThresholdSRU}
    assert not kinds(reference) & {SmoothSRU, MapAttention}
    for net, expected in ((edge, 2 + 6), (reference, 6 + 6)):
        assert sum(isinstance(m, GRN) for m in net.modules()) == expected
        assert sum(isinstance(m, SCBlock) for m in net.modules()) == 6
        assert net.position.shape == (1, 256, 4, 3)
    assert [isinstance(block.grn, GRN) for stage in edge.stages for block in stage] == [
        False,
        False,
        False,
        False,
        True,
        True,
    ]


@pytest.mark.parametrize("form", ["edge", "reference"])
def test_position_table_is_read(form: str) -> None:
    net = enliven(mitpose_lite((32, 32), 3, form=form)).eval()  # type: ignore[arg-type]
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        before = net(images)["heatmaps"]
        net.position += torch.randn_like(net.position)
        assert not torch.allclose(before, net(images)["heatmaps"])


def test_initialisation_is_the_documented_one() -> None:
    net = mitpose_lite((256, 192), 17)
    attention = net.blocks[0].attention
    for weight, std in (
        (attention.qkv.weight, 0.02),
        (attention.project.weight, 0.02),
        (net.position, 0.02),
        (net.head.weight, 0.001),
        (net.stages[0][0].expand.weight, (2 / 64) ** 0.5),
        (net.blocks[0].local.convs[1].weight, (2 / 25) ** 0.5),
    ):
        assert float(weight.detach().std()) == pytest.approx(std, rel=0.1)
    biases = [p for name, p in net.named_parameters() if name.endswith("bias")]
    assert all(not bias.any() for bias in biases)
