from __future__ import annotations

import gc

import pytest
import torch
from torch import Tensor, nn

from edgepose.bench.cost import torch_cost
from edgepose.bench.cost.eager import Held
from edgepose.errors import InputError
from edgepose.models import build

ONE = 4 * 48  # bytes of a tensor below


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, 4, 1)
        self.second = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x).flatten(1).view_as(x))


@pytest.mark.parametrize(
    ("model", "tensors"),
    [
        (nn.Conv2d(4, 4, 1), 2),
        (nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(inplace=True)), 2),
        # x waits; views take nothing, of weights neither
        (Residual(), 3),
        (nn.Linear(3, 3, bias=False), 2),
    ],
)
def test_the_peak_is_what_tensors_hold_at_once(model: nn.Module, tensors: int) -> None:
    gc.collect()
    model = model.to("meta")
    with torch.device("meta"):
        images = torch.empty(1, 4, 4, 3)
        held = Held(images, model)
        with torch.no_grad(), held:
            model(images)
    assert held.peak == tensors * ONE


def test_a_models_layers_add_up_and_know_their_shapes() -> None:
    cost = torch_cost("mitpose-lite@64x48")
    with torch.device("meta"):
        model = build("mitpose-lite@64x48")
    assert cost.params == sum(p.numel() for p in model.parameters())
    stem = next(layer for layer in cost.layers if layer.path == "stem.0.0")
    assert (stem.op, stem.shape, stem.module) == ("Conv2d", (1, 32, 32, 24), "stem.0.0 (Conv2d)")
    assert stem.macs == 32 * 32 * 24 * 27
    assert (cost.counted_on, cost.model, cost.batch) == ("torch", "mitpose-lite@64x48", 1)
    # At least the stem's input and output; not all maps at once.
    assert 4 * (3 * 64 * 48 + 32 * 32 * 24) <= (cost.activation_peak_bytes or 0) < 10**6
    assert cost.kinds["stem.0.0"] == "Conv2d"


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(InputError, match="no model 'nope'"):
        torch_cost("nope")
