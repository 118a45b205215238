from __future__ import annotations

import torch
from torch import nn

from edgepose.models.resnet import ResNet, ResNetDownsampling
from tests.models.helpers import count_macs, count_params


def test_costs() -> None:
    """The published ResNet-50 has 25,557,032 parameters, 2,049,000 of them in its classifier."""
    with torch.device("meta"):
        model = ResNet()
    assert count_params(model) == 25_557_032 - 2_049_000
    # 4.09 G with the stride on the 3x3 convolutions; on the 1x1 before them it would be 3.8 G.
    assert round(count_macs(model, 1, 3, 224, 224) / 1e9, 2) == 4.09


def test_shapes_after_each_layer() -> None:
    with torch.device("meta"):
        model = ResNet()
    seen = []
    for layer in (model.stem, model.pool, *model.layers):
        layer.register_forward_hook(lambda _m, _i, out: seen.append(tuple(out.shape[1:])))
    with torch.no_grad():
        model(torch.empty(1, 3, 64, 32, device="meta"))
    assert seen == [
        (64, 32, 16),
        (64, 16, 8),
        (256, 16, 8),
        (512, 8, 4),
        (1024, 4, 2),
        (2048, 2, 1),
    ]


def test_every_layer_that_halves_the_resolution_can_be_replaced() -> None:
    seen: dict[str, list[tuple[int, int, bool]]] = {}

    def recorder(place: str):  # type: ignore[no-untyped-def]
        def make(in_channels: int, out_channels: int, *, activate: bool) -> nn.Module:
            seen.setdefault(place, []).append((in_channels, out_channels, activate))
            return nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(in_channels, out_channels, 1))

        return make

    places = ("stem", "pool", "block", "skip")
    with torch.device("meta"):
        model = ResNet(downsampling=ResNetDownsampling(**{p: recorder(p) for p in places}))
        assert model(torch.empty(2, 3, 64, 64)).shape == (2, 2048, 2, 2)
    assert not [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.stride != (1, 1)]
    assert not [m for m in model.modules() if isinstance(m, nn.MaxPool2d)]
    assert seen == {
        "stem": [(3, 64, True)],
        "pool": [(64, 64, True)],
        "block": [(128, 128, True), (256, 256, True), (512, 512, True)],
        "skip": [(256, 512, False), (512, 1024, False), (1024, 2048, False)],
    }
