from __future__ import annotations

from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgepose.models.catalogue.mgil import MODELS
from edgepose.models.mgil import (
    MGAF,
    MGIL,
    MRIE,
    MGILOptions,
    Scope,
    mgil,
    mgil_resnet50,
    mgil_resnet_downsampling,
    pooled_projection,
    space_to_channels,
)
from edgepose.models.resnet import ResNet
from tests.models.helpers import count_macs, count_params, enliven


@pytest.mark.parametrize(
    ("channels", "size", "params", "gmacs"),
    [((3, 64), 32, 89_462, 0.0225), ((64, 64), 16, 377_626, 0.0240)],
)
def test_costs_of_the_block(
    channels: tuple[int, int], size: int, params: int, gmacs: float
) -> None:
    with torch.device("meta"):
        block = MGIL(*channels)
    assert count_params(block) == params
    assert round(count_macs(block, 1, channels[0], size, size) / 1e9, 4) == gmacs


@pytest.mark.parametrize(
    ("width", "size", "scope", "split", "mparams", "gmacs"),
    [
        (32, (32, 32), "all", 2.0, 59.9933, 0.3129),
        (32, (64, 64), "main", 3.0, 34.3003, 0.9124),
        (48, (64, 64), "all", 2.0, 132.8854, 2.4146),
    ],
)
def test_costs_of_the_whole(
    width: int, size: tuple[int, int], scope: Scope, split: float, mparams: float, gmacs: float
) -> None:
    with torch.device("meta"):
        model = mgil(size, 17, width=width, scope=scope, split_ratio=split)
    assert round(count_params(model) / 1e6, 4) == mparams
    assert count_macs(model, 1, 3, *size) == pytest.approx(gmacs * 1e9, rel=1e-3)


@pytest.mark.parametrize(
    ("scope", "cii_reads", "mparams", "gmacs"),
    [("main", "samples", 39.4368, 0.2864), ("all", "fine", 75.8854, 0.3779)],
)
def test_costs_of_what_was_not_chosen(
    scope: Scope, cii_reads: Literal["samples", "fine"], mparams: float, gmacs: float
) -> None:
    options = MGILOptions(mrie="full", cii_reads=cii_reads)
    with torch.device("meta"):
        model = mgil((32, 32), 17, width=32, scope=scope, options=options)
    assert round(count_params(model) / 1e6, 4) == mparams
    assert count_macs(model, 1, 3, 32, 32) == pytest.approx(gmacs * 1e9, rel=1e-3)


def test_options_change_the_block_as_they_say() -> None:
    def layers(**options: Any) -> dict[str, list[tuple[int, int]]]:
        block = MGIL(16, 24, MGILOptions(**options))
        return {
            path: [
                (m.in_channels, m.dilation[0])
                for m in getattr(block, path).modules()
                if isinstance(m, nn.Conv2d)
            ]
            for path in ("flie", "cii")
        }

    default = layers()
    assert default["flie"] == [(64, 1), (24, 1)]
    assert default["cii"] == [(64, 1), (64, 2), (64, 3), (64, 1), (24, 1)]
    assert layers(fine_depth=3)["flie"] == [(64, 1), (24, 1), (24, 1)]
    assert layers(coarse_depth=1)["cii"] == [(64, 1), (64, 2), (64, 3), (64, 1)]
    assert layers(dilations=(1, 5))["cii"][:2] == [(64, 1), (64, 5)]
    assert layers(mrie="full")["cii"] == [(64, 1), (64, 2), (64, 3), (24, 1), (24, 1)]
    assert layers(cii_reads="fine")["cii"] == [(24, 1), (24, 2), (24, 3), (24, 1), (24, 1)]
    assert MGIL(16, 128, MGILOptions(reduction=4)).mgaf.reduce.out_features == 64


@pytest.mark.parametrize("reads", ["samples", "fine"])
def test_what_cii_reads(reads: Literal["samples", "fine"]) -> None:
    torch.manual_seed(0)
    block = enliven(MGIL(3, 16, MGILOptions(cii_reads=reads))).eval()
    x = torch.randn(2, 3, 10, 6)
    samples = space_to_channels(x)
    fine = block.flie(samples)
    coarse = block.cii(samples if reads == "samples" else fine)
    torch.testing.assert_close(block(x), block.mgaf(fine, coarse))


def test_resnet_keeps_no_layer_that_drops_cells() -> None:
    with torch.device("meta"):
        model = mgil_resnet50((64, 32), 17)
    assert sum(isinstance(m, MGIL) for m in model.modules()) == 5
    assert not [m for m in model.modules() if isinstance(m, nn.MaxPool2d)]
    assert {m.stride for m in model.modules() if isinstance(m, nn.Conv2d)} == {(1, 1)}
    blocks = [
        (m.flie[0][0].in_channels // 4, m.flie[0][0].out_channels)
        for m in model.modules()
        if isinstance(m, MGIL)
    ]
    assert blocks == [(3, 64), (64, 64), (128, 128), (256, 256), (512, 512)]


def test_shapes_in_resnet() -> None:
    with torch.device("meta"):
        model = ResNet(downsampling=mgil_resnet_downsampling())
        seen = []
        for layer in (model.stem, model.pool, *model.layers):
            layer.register_forward_hook(lambda _m, _i, out: seen.append(tuple(out.shape[1:])))
        model(torch.empty(2, 3, 64, 32))
    assert seen == [
        (64, 32, 16),
        (64, 16, 8),
        (256, 16, 8),
        (512, 8, 4),
        (1024, 4, 2),
        (2048, 2, 1),
    ]


def test_the_skip_reads_all_four_cells() -> None:
    torch.manual_seed(0)
    skip = pooled_projection(3, 5, activate=False).eval()
    x = torch.randn(2, 3, 4, 6)
    mean = space_to_channels(x).unflatten(1, (4, 3)).mean(1)
    torch.testing.assert_close(skip(x), skip[1](mean))


def test_main_scope_leaves_the_fusion_chains_alone() -> None:
    with torch.device("meta"):
        main = mgil((32, 32), 17, width=32)
        everywhere = mgil((32, 32), 17, width=32, scope="all")
    assert sum(isinstance(m, MGIL) for m in main.modules()) == 5
    assert sum(isinstance(m, MGIL) for m in everywhere.modules()) == 5 + 1 + 4 * 4 + 2 * 10
    strides = {m.stride for m in everywhere.modules() if isinstance(m, nn.Conv2d)}
    assert strides == {(1, 1)}


def test_space_to_channels_order() -> None:
    """Groups by (row, column) offset (0,0), (1,0), (0,1), (1,1), channels inside a group in order.

    Trained weights rely on it.
    """
    x = torch.arange(2 * 3 * 4 * 6).reshape(2, 3, 4, 6)
    z = space_to_channels(x)
    assert z.shape == (2, 12, 2, 3)
    for group, (row, column) in enumerate([(0, 0), (1, 0), (0, 1), (1, 1)]):
        for channel in range(3):
            for i in range(2):
                for j in range(3):
                    expected = x[:, channel, 2 * i + row, 2 * j + column]
                    assert torch.equal(z[:, 3 * group + channel, i, j], expected)
    assert not torch.equal(z, F.pixel_unshuffle(x, 2))


def test_space_to_channels_loses_nothing() -> None:
    x = torch.randn(2, 5, 8, 6)
    groups = space_to_channels(x).unflatten(1, (2, 2, 5))  # (B, column, row, C, H/2, W/2)
    back = groups.permute(0, 3, 4, 2, 5, 1).reshape(x.shape)
    assert torch.equal(back, x)


def test_mrie_sums_three_dilated_depthwise_convolutions() -> None:
    torch.manual_seed(0)
    mrie = enliven(MRIE(4)).eval()
    x = torch.randn(2, 4, 7, 5)
    total = torch.zeros_like(x)
    for dilation, conv in zip((1, 2, 3), mrie.convs, strict=True):
        padded = F.pad(x, [dilation] * 4)
        for row in range(3):
            for column in range(3):
                window = padded[..., row * dilation :, column * dilation :][..., :7, :5]
                total += window * conv.weight[:, 0, row, column][:, None, None]
    torch.testing.assert_close(mrie(x), F.relu(mrie.norm(total)))


def test_mgaf_weights_sum_to_one_and_depend_on_the_image() -> None:
    torch.manual_seed(0)
    mgaf = enliven(MGAF(16, 16))
    fine, coarse = 4 * torch.randn(2, 3, 16, 5, 4)
    weights = mgaf.weights(fine, coarse)
    assert weights.shape == (3, 2)
    torch.testing.assert_close(weights.sum(1), torch.ones(3))
    assert weights[:, 0].std() > 1e-3
    expected = torch.stack([w[0] * f + w[1] * c for w, f, c in zip(weights, fine, coarse)])  # noqa: B905
    torch.testing.assert_close(mgaf(fine, coarse), expected)


def test_mgaf_bottleneck_is_an_eighth_of_one_path_but_at_least_8() -> None:
    assert MGAF(256, 16).reduce.out_features == 32
    assert MGAF(32, 16).reduce.out_features == 8


def test_block_is_never_negative_and_halves_the_map() -> None:
    torch.manual_seed(0)
    out = enliven(MGIL(3, 16)).eval()(torch.randn(2, 3, 10, 6))
    assert out.shape == (2, 16, 5, 3)
    assert out.min() >= 0
    assert out.max() > 0


@pytest.mark.parametrize("name", MODELS)
def test_the_catalogue_names_the_options(name: str) -> None:
    options = MODELS[name].options
    assert options["split_ratio"] == MODELS[name].decoder.split_ratio
    assert options.get("scope") == (None if "r50" in name else "main")
