from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from edgepose.models.catalogue.mfvpose import MODELS
from edgepose.models.encoder import LayerScale
from edgepose.models.mfvpose import HRFOV, gain_at_depth, mfvpose
from edgepose.models.tokenpose import tokenpose
from tests.models.helpers import count_macs, count_params, enliven, largest

MPII: dict[str, Any] = {"width": 48, "depths": (2, 2, 2), "heads": 8, "patch": (4, 4)}
SMALL = (32, 48)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("name", "params", "gmacs"),
    [
        ("mfvpose-w32-d8", 12_078_336, 5.8880),
        ("mfvpose-w32-d12", 13_561_344, 6.4050),
        ("mfvpose-w48-d8", 21_181_920, 10.3876),
        ("mfvpose-w48-d24", 27_629_664, 12.4645),
    ],
)
def test_costs(name: str, params: int, gmacs: float) -> None:
    entry = MODELS[name]
    with torch.device("meta"):
        model = mfvpose(entry.input_size, 17, **entry.options)
        assert model.eval()(torch.empty(2, 3, 256, 192))["heatmaps"].shape == (2, 17, 64, 48)
    assert count_params(model) == entry.params == params
    assert count_macs(model, 1, 3, 256, 192) == pytest.approx(gmacs * 1e9, rel=1e-4)
    assert entry.gmacs == gmacs


def test_costs_on_mpii() -> None:
    with torch.device("meta"):
        model = mfvpose((256, 256), 16, **MPII)
    assert count_params(model) == 21_583_648
    assert count_macs(model, 1, 3, 256, 256) == pytest.approx(13.2528e9, rel=1e-4)


@pytest.mark.parametrize(("width", "params", "gmacs"), [(32, 42_368, 0.129), (48, 88_896, 0.271)])
def test_costs_of_hrfov(width: int, params: int, gmacs: float) -> None:
    with torch.device("meta"):
        view = _OnOneInput(HRFOV(256, width), width)
    assert count_params(view) == params
    assert count_macs(view, 1, 256 + width, 64, 48) == pytest.approx(gmacs * 1e9, rel=5e-3)


@pytest.mark.parametrize("options", [m.options for m in MODELS.values()], ids=str)
def test_excess_over_tokenpose_is_hrfov_and_the_gains(options: dict[str, Any]) -> None:
    with torch.device("meta"):
        ours, theirs = mfvpose((256, 192), 17, **options), tokenpose((256, 192), 17, **options)
    gains = 2 * sum(options["depths"]) * 192
    view = count_params(HRFOV(256, options["width"]))
    assert count_params(ours) - count_params(theirs) == view + gains


@torch.no_grad()
def test_hrfov_is_a_cascade_beside_the_low_level_map() -> None:
    view = enliven(HRFOV(6, 4)).eval()
    low, high = torch.randn(2, 6, 24, 20), torch.randn(2, 4, 24, 20)

    def unit(layer: nn.Sequential, x: torch.Tensor, dilation: int) -> torch.Tensor:
        conv, norm, _ = layer
        reach = dilation * (conv.kernel_size[0] // 2)
        y = nn.functional.conv2d(x, conv.weight, padding=reach, dilation=dilation)
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        shift = norm.bias - norm.running_mean * scale
        return (y * scale[:, None, None] + shift[:, None, None]).clamp_min(0)

    branches, x = [], high
    for layer, rate in zip(view.cascade, (1, 6, 12, 18), strict=True):
        x = unit(layer, x, rate)  # type: ignore[arg-type]
        branches.append(x)
    joined = torch.cat([*branches, unit(view.low, low, 1)], dim=1)
    assert joined.shape[1] == 5 * 4
    torch.testing.assert_close(view(low, high), unit(view.merge, joined, 1), rtol=1e-4, atol=1e-5)
    assert [layer[0].kernel_size for layer in view.cascade] == [(1, 1), (3, 3), (3, 3), (3, 3)]
    assert not any(conv.bias is not None for conv in view.modules() if isinstance(conv, nn.Conv2d))


@torch.no_grad()
def test_hrfov_sees_36_cells_each_way() -> None:
    """6 + 12 + 18, since each atrous convolution reads the one before."""
    view = HRFOV(1, 1).eval()
    for layer in view.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.ones_(layer.weight)
    impulse = torch.zeros(1, 1, 81, 81)
    impulse[0, 0, 40, 40] = 1
    seen = view(torch.zeros_like(impulse), impulse)[0, 0].nonzero()
    assert seen.min(0).values.tolist() == [4, 4]
    assert seen.max(0).values.tolist() == [76, 76]


@pytest.mark.parametrize(
    ("depth", "gain"), [(8, 0.1), (12, 0.1), (18, 0.1), (19, 1e-5), (24, 1e-5), (25, 1e-6)]
)
def test_gains_start_by_depth(depth: int, gain: float) -> None:
    assert gain_at_depth(depth) == gain


def test_every_layer_has_two_gains() -> None:
    for depths, expected in (((8,), 0.1), ((8, 8, 8), 1e-5)):
        model = mfvpose(SMALL, 3, width=32, depths=depths, heads=8)
        gains = [m.gain.detach() for m in model.modules() if isinstance(m, LayerScale)]
        assert len(gains) == 2 * sum(depths)
        assert all(torch.equal(g, torch.full((192,), expected)) for g in gains)
    model = mfvpose(SMALL, 3, width=32, depths=(1,), heads=8, gain=0.5)
    gains = [m.gain.detach() for m in model.modules() if isinstance(m, LayerScale)]
    assert all(torch.equal(g, torch.full((192,), 0.5)) for g in gains)


def test_low_level_features_are_layer1_s() -> None:
    model = enliven(mfvpose(SMALL, 3, width=32, depths=(1,), heads=8)).eval()
    maps: dict[str, torch.Tensor] = {}
    model.trunk.layer1.register_forward_hook(lambda _m, _i, out: maps.update(low=out))
    model.view.low.register_forward_pre_hook(lambda _m, inputs: maps.update(read=inputs[0]))
    model.view.cascade[0].register_forward_pre_hook(lambda _m, i: maps.update(high=i[0]))
    images = torch.randn(1, 3, *SMALL)
    with torch.no_grad():
        model(images)
        assert maps["read"] is maps["low"]
        assert maps["low"].shape == (1, 256, 8, 12)
        assert torch.equal(maps["high"], model.trunk(images))


def test_gradients_reach_every_parameter_but_the_table() -> None:
    model = mfvpose(SMALL, 5, width=32, depths=(2,), heads=8)
    out = model(torch.randn(2, 3, *SMALL))["heatmaps"]
    assert out.shape == (2, 5, 8, 12)
    (out - 1).square().mean().backward()
    for name, parameter in model.named_parameters():
        if name == "heatmaps.0.position":
            assert not parameter.requires_grad
        else:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def test_an_item_does_not_depend_on_its_batch() -> None:
    model = enliven(mfvpose(SMALL, 5, width=32, depths=(2,), heads=8)).eval()
    images = torch.randn(3, 3, *SMALL)
    with torch.no_grad():
        together, alone = model(images)["heatmaps"], model(images[1:2])["heatmaps"]
    assert together.std() > 1e-3
    assert largest(together[1:2] - alone) < 1e-4 * largest(together)


class _OnOneInput(nn.Module):
    """Both maps in one tensor, so that their cost can be counted."""

    def __init__(self, view: HRFOV, width: int) -> None:
        super().__init__()
        self.view = view
        self.width = width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.view(x[:, self.width :], x[:, : self.width])
        return out
