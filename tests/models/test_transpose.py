from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edgepose.models import load_weights, save_weights
from edgepose.models.catalogue.transpose import MODELS
from edgepose.models.sine import sine_table
from edgepose.models.transpose import MapEncoder, TransPose, transpose
from tests.models.helpers import count_macs, count_params, enliven, largest

SMALL = (32, 16)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_costs_of_h_s() -> None:
    entry = MODELS["transpose-h-s"]
    with torch.device("meta"):
        model = transpose(entry.input_size, 17, **entry.options)
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    assert frozen == ["encoder.position"]
    assert model.encoder.position.numel() == 196_608
    assert count_params(model) == entry.params == 7_822_673 + 196_608
    assert count_params(model.encoder) - 196_608 == 133_888
    assert count_macs(model, 1, 3, 256, 192) == pytest.approx(9.9289e9, rel=1e-4)
    assert entry.gmacs == 9.9289


def test_figures_are_near_the_printed_ones() -> None:
    entry = MODELS["transpose-h-s"]
    printed = entry.printed
    assert printed.params_m is not None
    assert printed.gmacs is not None
    assert entry.params / 1e6 == pytest.approx(printed.params_m, rel=0.03)
    assert entry.gmacs == pytest.approx(printed.gmacs, rel=0.01)


def test_encoder_runs_over_the_cells_row_by_row_with_the_sine_table() -> None:
    encoder = enliven(MapEncoder(16, (4, 3), depth=2, heads=1, hidden=24, dropout=0.1)).eval()
    assert torch.equal(encoder.position, sine_table(16, 4, 3))
    x = torch.randn(2, 16, 4, 3)
    tokens = torch.stack([x[:, :, i, j] for i in range(4) for j in range(3)], dim=1)
    table = sine_table(16, 4, 3)
    position = torch.stack([table[:, :, i, j] for i in range(4) for j in range(3)], dim=1)
    for layer in encoder.layers:  # the table anew in every layer
        tokens = layer(tokens, position)
    out = encoder(x)
    for index in range(12):
        torch.testing.assert_close(out[:, :, index // 3, index % 3], tokens[:, index])


@torch.no_grad()
def test_positions_matter() -> None:
    encoder = enliven(MapEncoder(16, (4, 3), depth=1, heads=1, hidden=24, dropout=0.0)).eval()
    x = torch.randn(1, 16, 4, 3)
    mirrored = encoder(x.flip(3)).flip(3)
    assert largest(mirrored - encoder(x)) > 1e-2


def test_initialisation_is_the_documented_one() -> None:
    encoder = transpose(SMALL, 17).encoder
    attention = encoder.layers[0].attention
    # Uniform of variance 2 / (fan-in + fan-out); q, k and v as one 64 -> 192 matrix.
    for weight, std in (
        (attention.q.weight, (2 / (64 + 192)) ** 0.5),
        (attention.v.weight, (2 / (64 + 192)) ** 0.5),
        (attention.project.weight, (2 / 128) ** 0.5),
        (encoder.layers[0].mlp.expand.weight, (2 / (64 + 128)) ** 0.5),
    ):
        assert float(weight.detach().std()) == pytest.approx(std, rel=0.1)
    assert not any(p.any() for name, p in encoder.named_parameters() if name.endswith(("q.bias",)))


@torch.no_grad()
def test_attention_starts_undecided() -> None:
    """Scores of a standard deviation far below 1 leave every share near 1/T."""
    model = transpose(SMALL, 17)
    seen = []
    for layer in model.encoder.layers:
        layer.attention.register_forward_pre_hook(lambda m, inputs: seen.append((m, *inputs)))
    model(torch.randn(8, 3, *SMALL))
    for attention, x, position in seen:
        q, k = attention.q(x + position), attention.k(x + position)
        assert float((q * attention.scale @ k.transpose(1, 2)).std()) < 1


def test_gradients_reach_every_parameter_but_the_table() -> None:
    model = transpose(SMALL, 5)
    out = model(torch.randn(2, 3, *SMALL))["heatmaps"]
    assert out.shape == (2, 5, 8, 4)
    (out - 1).square().mean().backward()
    for name, parameter in model.named_parameters():
        if name == "encoder.position":
            assert parameter.grad is None
        else:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def test_an_item_does_not_depend_on_its_batch() -> None:
    model = enliven(transpose(SMALL, 5)).eval()
    images = torch.randn(3, 3, *SMALL)
    with torch.no_grad():
        together, alone = model(images)["heatmaps"], model(images[1:2])["heatmaps"]
    assert together.std() > 1e-3
    assert largest(together[1:2] - alone) < 1e-4 * largest(together)


def test_weights_of_another_size_bring_their_positions(tmp_path: Path) -> None:
    """Resampled, a cell keeps the code of its place in the image.

    A table made for the finer grid counts from its own cells, up to pi / 12 - pi / 24 = 0.131 of
    phase off here.
    """
    options = {"channels": 16, "hidden": 16, "depth": 1}
    coarse = transpose((64, 48), 3, **options)
    path = tmp_path / "w.safetensors"
    save_weights(coarse, path, model="transpose-h-s", input_size=(64, 48))
    fine: TransPose = transpose((128, 96), 3, **options)
    load_weights(fine, path)
    assert fine.encoder.position.shape == (1, 16, 32, 24)
    assert not fine.encoder.position.requires_grad
    inner = (slice(None), slice(None), slice(1, -1), slice(1, -1))
    expected = sine_table(16, 32, 24)
    assert largest(fine.encoder.position[inner] - expected[inner]) < 0.14
    assert torch.equal(fine.head.weight, coarse.head.weight)
