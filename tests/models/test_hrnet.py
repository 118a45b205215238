from __future__ import annotations

import pytest
import torch
from torch import nn

from edgepose.models.hrnet import Downsampling, HRNet, strided_conv
from tests.models.helpers import count_macs, count_params


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
    [(32, (384, 288), 17.2013), (48, (256, 192), 15.6918)],
)
def test_macs_of_the_heatmap_model(width: int, size: tuple[int, int], gmacs: float) -> None:
    with torch.device("meta"):
        model = nn.Sequential(HRNet(width), nn.Conv2d(width, 17, 1))
    assert count_macs(model, 1, 3, *size) == pytest.approx(gmacs * 1e9, rel=1e-4)


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


def test_strided_conv_activates_only_if_asked() -> None:
    x = torch.randn(2, 3, 8, 8)
    assert strided_conv(3, 4, activate=True)(x).min() >= 0
    plain = strided_conv(3, 4, activate=False)(x)
    assert plain.shape == (2, 4, 4, 4)
    assert plain.min() < 0
