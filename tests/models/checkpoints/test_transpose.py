from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from edgepose.models import load_weights
from edgepose.models.catalogue.transpose import MODELS
from edgepose.models.checkpoints.transpose import translate
from edgepose.models.registry import named
from edgepose.models.transpose import transpose
from tests.models.checkpoints import published
from tests.models.test_sine import value

MODULES = (1, 4)
SIZE = (64, 32)
GRID = (16, 8)
DEPTH = 2


def norm(name: str, channels: int) -> published.Shapes:
    return {f"{name}.weight": (channels,), f"{name}.bias": (channels,)}


def shapes(width: int, d: int, hidden: int, depth: int, cells: int) -> published.Shapes:
    found = published.hrnet_shapes(width, MODULES) | published.final_layer(17, d)
    found |= {"reduce.weight": (d, width, 1, 1), "pos_embedding": (cells, 1, d)}
    for index in range(depth):
        layer = f"global_encoder.layers.{index}"
        found[f"{layer}.self_attn.in_proj_weight"] = (3 * d, d)
        found[f"{layer}.self_attn.in_proj_bias"] = (3 * d,)
        found |= published.linear(f"{layer}.self_attn.out_proj", d, d)
        found |= published.linear(f"{layer}.linear1", hidden, d)
        found |= published.linear(f"{layer}.linear2", d, hidden)
        found |= norm(f"{layer}.norm1", d) | norm(f"{layer}.norm2", d)
    return found


def table(d: int, height: int, width: int) -> Tensor:
    """As the authors lay it out: (cells, 1, d)."""
    return torch.tensor(
        [
            [[value(c, i, j, d, height, width) for c in range(d)]]
            for i in range(height)
            for j in range(width)
        ]
    )


def small() -> published.Tensors:
    tensors = published.filled(shapes(8, 16, 24, DEPTH, GRID[0] * GRID[1]))
    for index in range(DEPTH):  # attention far from uniform
        tensors[f"global_encoder.layers.{index}.self_attn.in_proj_weight"] *= 2
    return tensors | {"pos_embedding": table(16, *GRID)}


def read(t: published.Tensors, features: Tensor) -> Tensor:
    """What the authors' forward computes from HRNet's map, by PyTorch's attention, tokens first."""
    x = F.conv2d(features, t["reduce.weight"])
    batch, d, height, width = x.shape
    x = x.flatten(2).permute(2, 0, 1)  # (T, B, d)
    for index in range(DEPTH):
        p = f"global_encoder.layers.{index}"
        located = x + t["pos_embedding"]
        attended, _ = F.multi_head_attention_forward(
            located,
            located,
            x,
            embed_dim_to_check=d,
            num_heads=1,
            in_proj_weight=t[f"{p}.self_attn.in_proj_weight"],
            in_proj_bias=t[f"{p}.self_attn.in_proj_bias"],
            bias_k=None,
            bias_v=None,
            add_zero_attn=False,
            dropout_p=0.0,
            out_proj_weight=t[f"{p}.self_attn.out_proj.weight"],
            out_proj_bias=t[f"{p}.self_attn.out_proj.bias"],
            training=False,
        )
        x = F.layer_norm(x + attended, [d], t[f"{p}.norm1.weight"], t[f"{p}.norm1.bias"])
        hidden = F.relu(F.linear(x, t[f"{p}.linear1.weight"], t[f"{p}.linear1.bias"]))
        mixed = F.linear(hidden, t[f"{p}.linear2.weight"], t[f"{p}.linear2.bias"])
        x = F.layer_norm(x + mixed, [d], t[f"{p}.norm2.weight"], t[f"{p}.norm2.bias"])
    return published.final(t, x.permute(1, 2, 0).reshape(batch, d, height, width))


@torch.no_grad()
def test_the_translated_model_computes_what_the_authors_compute() -> None:
    tensors = small()
    model = transpose(SIZE, 17, width=8, channels=16, hidden=24, depth=DEPTH).eval()
    model.load_state_dict(translate(tensors))
    images = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(3))
    ours = model(images)["heatmaps"]
    theirs = read(tensors, published.hrnet_features(tensors, images, MODULES))
    assert ours.std() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_nothing_of_h_s_is_missing_and_nothing_is_left_over() -> None:
    entry = MODELS["transpose-h-s"]
    assert entry.authors is not None
    theirs = published.on_meta(shapes(32, 64, 128, 4, 64 * 48))
    theirs["pos_embedding"] = table(64, 64, 48)
    translated = named(entry.authors.translate)(theirs)
    with torch.device("meta"):
        model = named(entry.builder)(entry.input_size, 17, **entry.options)
    expected = {key: tensor.shape for key, tensor in model.state_dict().items()}
    assert {key: tensor.shape for key, tensor in translated.items()} == expected


@pytest.mark.parametrize("grid", [(64, 48), (64, 64), (96, 72), (3, 7)])
def test_the_table_tells_its_grid(grid: tuple[int, int]) -> None:
    authors = table(6, *grid)
    position = translate({"pos_embedding": authors})["encoder.position"]
    assert position.shape == (1, 6, *grid)
    assert torch.equal(position[0, :, 2, 5], authors[2 * grid[1] + 5, 0])


def test_the_table_follows_the_input_size(tmp_path: Path) -> None:
    path = tmp_path / "tp_h.pth"
    torch.save(small(), path)
    model = transpose((128, 96), 17, width=8, channels=16, hidden=24, depth=DEPTH)
    assert load_weights(model, path, translate)["origin"] == "authors"
    assert model.encoder.position.shape == (1, 16, 32, 24)


def test_what_is_no_sine_table_is_passed_on() -> None:
    learned = torch.randn(12, 1, 8, generator=torch.Generator().manual_seed(0))
    for tensor in (learned, torch.zeros(3), torch.ones(1, 1, 8)):
        translated = translate({"pos_embedding": tensor, "fc.weight": learned})
        assert list(translated) == ["pos_embedding", "fc.weight"]


@pytest.mark.parametrize("shape", [(), (2,), (4, 2)])
def test_a_joint_tensor_that_has_no_three_parts_is_passed_on(shape: tuple[int, ...]) -> None:
    name = "global_encoder.layers.0.self_attn.in_proj_weight"
    assert list(translate({name: torch.zeros(shape)})) == [name]


def test_their_outputs_are_read_as_they_trained_them() -> None:
    """Their settings: COLOR_RGB, BLUR_KERNEL 11 and DARK's decoding, targets at the corners."""
    authors = MODELS["transpose-h-s"].authors
    assert authors is not None
    decoder = authors.decoder
    assert (decoder.name, decoder.alignment, decoder.blur_kernel) == ("dark", "corner", 11)
    assert authors.colour == "rgb"
