from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from edgepose.models.catalogue.refinepose import MODELS
from edgepose.models.refinepose import (
    FusionStep,
    GradualEmbedding,
    Matching,
    PoolWithPlaces,
    RefinePose,
    ScaleBlock,
    Unpool,
    aggregation,
    refinepose,
)
from edgepose.models.vit import ViTConfig
from tests.models.helpers import count_macs, count_params, enliven

NATIVE = (256, 192)
TINY = ViTConfig(channels=32, depth=4, heads=4)
MATCHINGS = ["tile", "halve"]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("size", "matching", "params", "gmacs"),
    [
        ("b", "tile", 93_002_225, 25.0119),
        ("b", "halve", 91_754_609, 21.8658),
        ("l", "tile", 316_289_681, 73.7907),
        ("s", "halve", 23_035_457, 5.7377),
    ],
)
def test_costs(size: str, matching: Matching, params: int, gmacs: float) -> None:
    with torch.device("meta"):
        model = refinepose(NATIVE, 17, size=size, matching=matching)  # type: ignore[arg-type]
    assert count_params(model) == params
    assert count_macs(model, 1, 3, *NATIVE) == pytest.approx(gmacs * 1e9, rel=1e-4)


def test_the_parts_of_b_add_up() -> None:
    with torch.device("meta"):
        model = refinepose(NATIVE, 17, size="b")
    embedding = model.embedding
    parts = {
        "stem": embedding.stem,
        "scale 2": embedding.scales[0],
        "aggregation 2": embedding.aggregations[0],
        "scale 3": embedding.scales[1],
        "aggregation 3": embedding.aggregations[1],
        "scale 4": embedding.scales[2],
        "aggregation 4": embedding.aggregations[2],
        "final": embedding.final,
        "blocks": model.trunk.blocks,
        "last norm": model.trunk.norm,
        "to middle": model.to_middle,
        "to fine": model.to_fine,
        "head": model.head,
    }
    counts = {name: count_params(part) for name, part in parts.items()}
    assert counts == {
        "stem": 33_696,
        "scale 2": 184_704,
        "aggregation 2": 38_976,
        "scale 3": 738_048,
        "aggregation 3": 151_680,
        "scale 4": 2_950_656,
        "aggregation 4": 598_272,
        "final": 591_360,
        "blocks": 85_054_464,
        "last norm": 1_536,
        "to middle": 1_196_544,
        "to fine": 1_196_544,
        "head": 117_521,
    }
    assert sum(counts.values()) + 193 * 768 == count_params(model)


@pytest.mark.parametrize("name", MODELS)
def test_the_registry_counts_its_own(name: str) -> None:
    entry = MODELS[name]
    with torch.device("meta"):
        assert count_params(refinepose(NATIVE, 17, **entry.options)) == entry.params
    assert entry.options["matching"] == ("halve" if name == "refinepose-s" else "tile")


def naive_winner(window: list[float]) -> int:
    """Row-major scan of a 2x2 window; only a strictly larger value takes over."""
    best = 0
    for index, value in enumerate(window):
        if value > window[best]:
            best = index
    return best


@torch.no_grad()
@pytest.mark.parametrize("copies", [1, 2])
def test_pooling_and_unpooling_written_out(copies: int) -> None:
    a = torch.randint(-2, 3, (2, 3, 6, 4)).float()
    a[0, 0, :2, :2] = float("-inf")
    values = torch.randn(2, 3 * copies, 3, 2)
    maxima, places = PoolWithPlaces()(a)
    out = Unpool(copies)(values, places)
    expected = torch.zeros(2, 3 * copies, 6, 4)
    for b, c, i, j in torch.cartesian_prod(*map(torch.arange, values.shape)).tolist():
        window = a[b, c % 3, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].flatten().tolist()
        winner = naive_winner(window)
        assert maxima[b, c % 3, i, j] == max(window)
        expected[b, c, 2 * i + winner // 2, 2 * j + winner % 2] = values[b, c, i, j]
    assert torch.equal(out, expected)


@torch.no_grad()
def test_scale_block_is_a_convolution_plus_a_pooled_pointwise_one() -> None:
    block = enliven(ScaleBlock(6))
    x = torch.randn(2, 6, 8, 6)
    out, places = block(x)
    point = torch.einsum("oi,bihw->bohw", block.point.weight[:, :, 0, 0], x)
    point = point + block.point.bias[:, None, None]
    windows = point.unflatten(3, (3, 2)).unflatten(2, (4, 2))  # (B, 2C, h, 2, w, 2)
    conv = F.conv2d(F.pad(x, [1, 1, 1, 1]), block.conv.weight, block.conv.bias, stride=2)
    torch.testing.assert_close(out, conv + windows.amax((3, 5)), rtol=1e-4, atol=1e-5)
    taken = point.flatten(2).gather(2, places.flatten(2)).unflatten(2, (4, 3))
    torch.testing.assert_close(taken, windows.amax((3, 5)))


@torch.no_grad()
def test_aggregation_is_depthwise_pointwise_norm_relu() -> None:
    layer = enliven(aggregation(6, 4)).eval()
    x = torch.randn(2, 6, 5, 3)
    depthwise, point, norm = layer[0], layer[1], layer[2]
    assert depthwise.bias is None
    assert point.bias is None
    padded = F.pad(x, [1, 1, 1, 1])
    spread = sum(
        depthwise.weight[:, 0, i, j][:, None, None] * padded[:, :, i : i + 5, j : j + 3]
        for i in range(3)
        for j in range(3)
    )
    mixed = torch.einsum("oi,bihw->bohw", point.weight[:, :, 0, 0], spread)
    scale = norm.weight / (norm.running_var + 1e-5).sqrt()
    shift = norm.bias - norm.running_mean * scale
    expected = (mixed * scale[:, None, None] + shift[:, None, None]).relu()
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_embedding_halves_four_times_and_gives_the_right_places() -> None:
    embedding = enliven(GradualEmbedding(32)).eval()
    images = torch.randn(2, 3, 64, 48)
    coarse, middle_places, coarse_places = embedding(images)
    assert coarse.shape == (2, 32, 4, 3)
    assert middle_places.shape == (2, 16, 8, 6)  # from 16x12, half of the channels
    assert coarse_places.shape == (2, 32, 4, 3)  # from 8x6, all of them
    x = embedding.stem(images)
    assert x.shape == (2, 4, 32, 24)
    found = []
    for scale, aggregate in zip(embedding.scales, embedding.aggregations, strict=True):
        x, places = scale(x)
        x = aggregate(x)
        found.append(places)
    assert torch.equal(middle_places, found[1])
    assert torch.equal(coarse_places, found[2])
    torch.testing.assert_close(coarse, embedding.final(x))
    assert bool((coarse < 0).any())  # no activation behind the last norm


@torch.no_grad()
def test_a_decoder_step_adds_the_unpooled_to_the_bilinear_map() -> None:
    step = enliven(FusionStep(8, 4, copies=2)).eval()
    x = torch.randn(2, 8, 3, 2)
    _, places = PoolWithPlaces()(torch.randn(2, 4, 6, 4))
    unpooled = F.max_unpool2d(x, torch.cat([places, places], dim=1), [2, 2])
    smooth = F.interpolate(x, (6, 4), mode="bilinear", align_corners=False)
    torch.testing.assert_close(step(x, places), step.refine(unpooled + smooth))
    assert step(x, places).shape == (2, 4, 6, 4)


@torch.no_grad()
@pytest.mark.parametrize("matching", MATCHINGS)
def test_the_whole_net_is_its_parts(matching: Matching) -> None:
    """Coarse places in the first step, middle places in the second; tiled: channel k mod d/2."""
    net = enliven(RefinePose((64, 48), 5, TINY, matching)).eval()
    images = torch.randn(2, 3, 64, 48)
    coarse, middle_places, coarse_places = net.embedding(images)
    assert net.trunk.shortcut_every == 4

    def step(x: Tensor, places: Tensor, refine: torch.nn.Module) -> Tensor:
        smooth = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        refined: Tensor = refine(F.max_unpool2d(x, places, [2, 2]) + smooth)
        return refined

    x = step(net.trunk(coarse), coarse_places, net.to_middle.refine)
    assert x.shape[1] == (32 if matching == "tile" else 16)
    if matching == "tile":
        middle_places = torch.stack([middle_places[:, k % 16] for k in range(32)], dim=1)
    x = step(x, middle_places, net.to_fine.refine)
    maps = net(images)["heatmaps"]
    assert maps.shape == (2, 5, 16, 12)
    torch.testing.assert_close(maps, net.head(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("matching", MATCHINGS)
def test_gradients_reach_every_parameter(matching: Matching) -> None:
    net = RefinePose((32, 32), 3, TINY, matching)
    (net(torch.randn(4, 3, 32, 32))["heatmaps"] - 1).square().mean().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("matching", MATCHINGS)
def test_bf16_training(matching: Matching) -> None:
    net = RefinePose((32, 32), 3, TINY, matching)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        maps = net(torch.randn(2, 3, 32, 32))["heatmaps"]
    maps.float().square().mean().backward()
    assert net.embedding.stem[0].weight.grad.isfinite().all()


def test_fresh_heatmaps_are_near_zero() -> None:
    net = RefinePose((64, 48), 17, ViTConfig(channels=96, depth=4, heads=3), "tile")
    with torch.no_grad():
        maps = net(torch.randn(4, 3, 64, 48))["heatmaps"]
    assert 0 < maps.abs().max() < 0.5
