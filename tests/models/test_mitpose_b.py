from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from edgepose.models.catalogue.mitpose_b import MODELS
from edgepose.models.mitpose_b import (
    ChannelAttention,
    MitPoseB,
    MultiScale,
    SCConv,
    SpatialAttention,
    mitpose_b,
)
from edgepose.models.vit import ViTConfig
from tests.models.helpers import count_macs, count_params, enliven

NATIVE = (256, 192)
TINY = ViTConfig(channels=32, depth=2, heads=4)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_costs() -> None:
    entry = MODELS["mitpose-b"]
    with torch.device("meta"):
        model = mitpose_b(NATIVE, 17, **entry.options)
        scconv = SCConv(768)
    assert count_params(model) == entry.params == 90_074_227
    assert entry.printed.params_m is not None
    assert entry.params / 1e6 == pytest.approx(entry.printed.params_m, abs=0.05)
    assert count_macs(model, 1, 3, *NATIVE) == pytest.approx(18.2450e9, rel=1e-4)
    assert count_params(model.scconv) == count_params(scconv) == 1_071_360
    assert count_macs(scconv, 1, 768, 16, 12) == pytest.approx(0.2053e9, rel=1e-3)


def test_dense_kernels_cost_what_the_authors_module_costs() -> None:
    with torch.device("meta"):
        module = MultiScale(768, "dense")
        model = mitpose_b(NATIVE, 17, kernels="dense")
    assert count_params(module) == 52_572_770
    assert count_macs(module, 1, 768, 16, 12) == pytest.approx(10.08e9, rel=1e-3)
    assert count_params(model) == 139_556_467


@torch.no_grad()
def test_scconv_is_sru_then_cru() -> None:
    unit = enliven(SCConv(16))
    x = torch.randn(2, 16, 4, 3)
    torch.testing.assert_close(unit(x), unit.cru(unit.sru(x)))
    assert not torch.allclose(unit(x), unit.cru(x))


@torch.no_grad()
def test_channel_attention_weighs_whole_channels() -> None:
    unit = enliven(ChannelAttention(32))
    x = torch.randn(2, 32, 4, 3)
    squeeze, expand = unit.mlp[0].weight[:, :, 0, 0], unit.mlp[2].weight[:, :, 0, 0]
    means, maxima = x.flatten(2).mean(2), x.flatten(2).max(2).values
    logits = sum((v @ squeeze.T).relu() @ expand.T for v in (means, maxima))
    expected = x * (1 / (1 + torch.exp(-logits)))[:, :, None, None]
    torch.testing.assert_close(unit(x), expected)


@torch.no_grad()
def test_spatial_attention_weighs_whole_cells() -> None:
    unit = enliven(SpatialAttention())
    x = torch.randn(2, 8, 9, 7)
    seen = torch.stack([x.mean(1), x.max(1).values], dim=1)
    padded = F.pad(seen, [3, 3, 3, 3])
    logits = torch.zeros(2, 9, 7)
    for row in range(7):
        for column in range(7):
            window = padded[:, :, row : row + 9, column : column + 7]
            logits += (unit.conv.weight[0, :, row, column][:, None, None] * window).sum(1)
    expected = x * (1 / (1 + torch.exp(-logits)))[:, None]
    torch.testing.assert_close(unit(x), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("kernels", ["depthwise", "dense"])
def test_multi_scale_has_two_skips(kernels: str) -> None:
    unit = enliven(MultiScale(16, kernels))  # type: ignore[arg-type]
    x = torch.randn(2, 16, 9, 7)
    led = x if kernels == "depthwise" else unit.lead(x)
    scales = torch.cat([conv(led) for conv in unit.convs], dim=1)
    assert [conv.kernel_size for conv in unit.convs] == [(7, 7), (5, 5), (3, 3)]
    middle = x + unit.fuse_scales(scales)
    attended = torch.cat([unit.channel(middle), unit.spatial(middle)], dim=1)
    torch.testing.assert_close(unit(x), middle + unit.fuse_attentions(attended))


@torch.no_grad()
def test_the_whole_net_is_its_parts() -> None:
    net = enliven(MitPoseB((64, 48), 5, TINY, "depthwise")).eval()
    images = torch.randn(3, 3, 64, 48)
    tokens = net.embedding(images)
    x = net.trunk(net.multi_scale(tokens + net.scconv(tokens)))
    expected = net.head(F.interpolate(x.relu(), (16, 12), mode="bilinear", align_corners=False))
    maps = net(images)["heatmaps"]
    assert maps.shape == (3, 5, 16, 12)
    torch.testing.assert_close(maps, expected)
    torch.testing.assert_close(net(images[1:2])["heatmaps"], maps[1:2], rtol=1e-4, atol=1e-4)


def test_gradients_reach_every_parameter() -> None:
    net = MitPoseB((32, 32), 3, TINY, "depthwise")
    (net(torch.randn(2, 3, 32, 32))["heatmaps"] - 1).square().mean().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
