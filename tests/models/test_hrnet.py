from __future__ import annotations

import pytest
import torch
from torch import nn

from edgepose.models.catalogue.hrnet import MODELS
from edgepose.models.hrnet import Downsampling, ExchangeModule, HRNet, basic_block, hrnet
from edgepose.models.residual import strided_conv
from tests.models.helpers import count_macs, count_params, enliven


@pytest.mark.parametrize(
    ("width", "modules", "params"),
    [
        (32, (1, 4, 3), 28_535_552),
        (48, (1, 4, 3), 63_594_912),
        (32, (1, 4), 7_685_632),
        (48, (1, 4), 16_705_824),
    ],
)
def test_params(width: int, modules: tuple[int, ...], params: int) -> None:
    with torch.device("meta"):
        assert count_params(HRNet(width, modules)) == params


@pytest.mark.parametrize(
    ("width", "size", "gmacs"),
    [(32, (384, 288), 17.2013), (48, (256, 192), 15.6918), (48, (384, 288), 35.3066)],
)
def test_macs_of_the_heatmap_model(width: int, size: tuple[int, int], gmacs: float) -> None:
    with torch.device("meta"):
        model = hrnet(size, 17, width=width)
    assert count_macs(model, 1, 3, *size) == pytest.approx(gmacs * 1e9, rel=1e-4)


@pytest.mark.parametrize("modules", [(1, 4), (1, 4, 3)])
def test_shapes_after_each_stage(modules: tuple[int, ...]) -> None:
    """One branch more per stage, each with half the last one's resolution and twice its channels.

    The last module of the last stage gives the finest branch alone.
    """
    with torch.device("meta"):
        model = HRNet(32, modules)
    assert [len(stage) for stage in model.stages] == list(modules)
    seen = []
    for stage in model.stages:
        for module in stage:
            module.register_forward_hook(
                lambda _m, _i, branches: seen.append([tuple(b.shape[1:]) for b in branches])
            )
    with torch.no_grad():
        out = model(torch.empty(1, 3, 128, 96, device="meta"))
    pyramid = [(32, 32, 24), (64, 16, 12), (128, 8, 6), (256, 4, 3)]
    expected = [pyramid[: stage + 2] for stage, count in enumerate(modules) for _ in range(count)]
    expected[-1] = pyramid[:1]
    assert seen == expected
    assert out.shape == (1, *pyramid[0])


def test_a_coarser_branch_reaches_the_finest_within_a_module() -> None:
    """The fused maps depend on every branch."""
    torch.manual_seed(0)
    module = enliven(ExchangeModule([4, 8, 16], 3, strided_conv, 3, basic_block)).eval()
    maps = [torch.rand(1, c, 8 // s, 8 // s) for c, s in ((4, 1), (8, 2), (16, 4))]
    with torch.no_grad():
        before = module(maps)
        for source in range(3):
            changed = [m + 0.5 if i == source else m for i, m in enumerate(maps)]
            for target, fused in enumerate(module(changed)):
                assert (fused - before[target]).abs().max() > 1e-3, (source, target)


def test_every_layer_that_halves_the_resolution_can_be_replaced() -> None:
    seen: dict[str, list[tuple[int, int, bool]]] = {"stem": [], "transition": [], "fusion": []}

    def recorder(place: str):  # type: ignore[no-untyped-def]
        def make(in_channels: int, out_channels: int, *, activate: bool) -> nn.Module:
            seen[place].append((in_channels, out_channels, activate))
            return nn.Sequential(
                nn.AvgPool2d(2), nn.Conv2d(in_channels, out_channels, 1, bias=False)
            )

        return make

    down = Downsampling(
        stem=recorder("stem"), transition=recorder("transition"), fusion=recorder("fusion")
    )
    with torch.device("meta"):
        model = HRNet(32, downsampling=down)
        assert model(torch.empty(2, 3, 64, 64)).shape == (2, 32, 16, 16)
    assert not [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.stride != (1, 1)]
    assert seen["stem"] == [(3, 64, True), (64, 64, True)]
    assert seen["transition"] == [(256, 64, True), (64, 128, True), (128, 256, True)]
    # Stage 2 has 1 such layer; a full module of stage 3 has 4, of stage 4 has 10; the last has 0.
    assert len(seen["fusion"]) == 1 + 4 * 4 + 2 * 10
    assert {(a, b) for a, b, activate in seen["fusion"] if activate} == {(32, 32), (64, 64)}


def test_every_residual_block_of_a_branch_can_be_replaced() -> None:
    seen = []

    def make(channels: int, *, stage: int, branch: int) -> nn.Module:
        seen.append((stage, branch, channels))
        return basic_block(channels, stage=stage, branch=branch)

    with torch.device("meta"):
        HRNet(32, (1, 4), make_block=make)
    per_module = {2: [(0, 32), (1, 64)], 3: [(0, 32), (1, 64), (2, 128)]}
    assert seen == [
        (stage, branch, channels)
        for stage, count in ((2, 1), (3, 4))
        for _ in range(count)
        for branch, channels in per_module[stage]
        for _ in range(4)
    ]


@pytest.mark.parametrize("name", MODELS)
def test_printed_figures_are_ours_after_conversion(name: str) -> None:
    entry = MODELS[name]
    printed = entry.printed
    assert printed.gflops is not None
    assert printed.gmacs == pytest.approx(printed.gflops * 2**30 / 1e9, abs=0.005)
    assert printed.gmacs == pytest.approx(entry.gmacs, rel=0.01)
    assert printed.params_m == pytest.approx(entry.params / 1e6, abs=0.05)
