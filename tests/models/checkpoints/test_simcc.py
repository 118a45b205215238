from __future__ import annotations

import torch
import torch.nn.functional as F

from edgepose.models.checkpoints.simcc import translate_hrnet, translate_resnet
from edgepose.models.simcc import simcc, simcc_resnet50
from tests.models.checkpoints import published

SIZE = (64, 32)
CELLS = 16 * 8


def head_shapes(channels: int) -> published.Shapes:
    """The names are of the image's axes, whose size their settings give as (width, height)."""
    return (
        published.final_layer(5, channels)
        | published.linear("mlp_head_x", 2 * 32, CELLS)
        | published.linear("mlp_head_y", 2 * 64, CELLS)
    )


def read(tensors: published.Tensors, features: torch.Tensor) -> dict[str, torch.Tensor]:
    rows = published.final(tensors, features).reshape(len(features), 5, CELLS)
    return {
        f"simcc_{axis}": F.linear(
            rows, tensors[f"mlp_head_{axis}.weight"], tensors[f"mlp_head_{axis}.bias"]
        )
        for axis in "xy"
    }


@torch.no_grad()
def test_on_hrnet() -> None:
    tensors = published.filled(published.hrnet_shapes(8) | head_shapes(8))
    model = simcc(SIZE, 5, width=8).eval()
    model.load_state_dict(translate_hrnet(tensors))
    images = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(3))
    expected = read(tensors, published.hrnet_features(tensors, images))
    assert expected["simcc_x"].shape == (2, 5, 64)
    torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_on_resnet() -> None:
    tensors = published.filled(published.resnet50_shapes() | head_shapes(256))
    model = simcc_resnet50(SIZE, 5).eval()
    model.load_state_dict(translate_resnet(tensors))
    images = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(3))
    expected = read(tensors, published.resnet50_features(tensors, images))
    assert expected["simcc_y"].shape == (2, 5, 128)
    torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-4)
