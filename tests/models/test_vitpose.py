from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgepose.models import load_weights, save_weights
from edgepose.models.catalogue.vitpose import MODELS
from edgepose.models.vit import ViTConfig
from edgepose.models.vitpose import Decoder, SimpleUpsampling, ViTPose, vitpose
from tests.models.helpers import count_macs, count_params, enliven

NATIVE = (256, 192)
TINY = ViTConfig(channels=24, depth=2, heads=3)
DECODERS = ["classic", "simple"]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("size", "decoder", "params", "gmacs"),
    [
        ("s", "classic", 24_290_577, 5.5939),
        ("s", "simple", 21_722_513, 4.6537),
        ("b", "classic", 89_994_513, 18.5228),
        ("b", "simple", 85_912_337, 17.4611),
        ("l", "classic", 308_544_785, 61.5690),
        ("l", "simple", 303_453_201, 60.4263),
    ],
)
def test_costs(size: str, decoder: Decoder, params: int, gmacs: float) -> None:
    with torch.device("meta"):
        model = vitpose(NATIVE, 17, size=size, decoder=decoder)  # type: ignore[arg-type]
    assert count_params(model) == params
    assert count_macs(model, 1, 3, *NATIVE) == pytest.approx(gmacs * 1e9, rel=1e-4)


def test_the_printed_size_is_the_transformers() -> None:
    with torch.device("meta"):
        model = vitpose(NATIVE, 17, size="b")
    transformer = count_params(model.embedding) + count_params(model.trunk)
    printed = MODELS["vitpose-b"].printed.params_m
    assert printed is not None
    assert transformer == 85_794_816
    assert round(transformer / 1e6) == printed


@pytest.mark.parametrize("name", MODELS)
def test_the_registry_has_the_classic_decoder(name: str) -> None:
    entry = MODELS[name]
    assert entry.options["decoder"] == "classic"
    with torch.device("meta"):
        assert count_params(vitpose(NATIVE, 17, **entry.options)) == entry.params
    assert (entry.decoder.name, entry.decoder.alignment) == ("dark", "half_pixel")
    assert entry.authors is not None
    assert (entry.authors.decoder.name, entry.authors.decoder.alignment) == ("dark", "unit")


def test_simple_upsampling_takes_the_positive_part_first() -> None:
    x = torch.randn(2, 5, 4, 3)
    expected = F.interpolate(x.clamp_min(0), (16, 12), mode="bilinear", align_corners=False)
    torch.testing.assert_close(SimpleUpsampling()(x), expected)


@pytest.mark.parametrize("decoder", DECODERS)
def test_shapes_and_batches(decoder: Decoder) -> None:
    model = enliven(ViTPose((64, 48), 5, TINY, decoder)).eval()
    images = torch.randn(3, 3, 64, 48)
    with torch.no_grad():
        maps = model(images)["heatmaps"]
        assert maps.shape == (3, 5, 16, 12)
        assert maps.std() > 1e-3
        torch.testing.assert_close(model(images[1:2])["heatmaps"], maps[1:2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("decoder", DECODERS)
def test_gradients_reach_every_parameter(decoder: Decoder) -> None:
    model = ViTPose((32, 32), 3, TINY, decoder)
    (model(torch.randn(2, 3, 32, 32))["heatmaps"] - 1).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("decoder", DECODERS)
def test_fresh_heatmaps_are_near_zero(decoder: Decoder) -> None:
    model = ViTPose((64, 48), 17, ViTConfig(channels=96, depth=2, heads=3), decoder)
    with torch.no_grad():
        maps = model(torch.randn(4, 3, 64, 48))["heatmaps"]
    assert 0 < maps.abs().max() < 0.2
    for module in model.modules():
        if isinstance(module, nn.ConvTranspose2d):
            expected = (2 / (4 * module.in_channels)) ** 0.5
            assert float(module.weight.detach().std()) == pytest.approx(expected, rel=0.05)


def test_the_table_follows_the_input_size_and_the_shared_row_does_not(tmp_path: Path) -> None:
    small, large = (enliven(ViTPose(size, 5, TINY, "simple")) for size in ((64, 48), (128, 96)))
    file = tmp_path / "w.safetensors"
    save_weights(small, file, model="vitpose-s", input_size=(64, 48))
    load_weights(large, file)
    expected = F.interpolate(
        small.trunk.position, size=(8, 6), mode="bilinear", align_corners=False
    )
    torch.testing.assert_close(large.trunk.position, expected)
    assert torch.equal(large.trunk.shared_position, small.trunk.shared_position)
