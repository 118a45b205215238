from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from edgepose.models.vit import SIZES, Trunk, ViTBlock, ViTConfig, patch_embedding
from tests.models.helpers import count_params, enliven

TINY = ViTConfig(channels=24, depth=4, heads=3)
GRID = (4, 3)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def naive_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight + bias


def naive_block(x: Tensor, block: ViTBlock, heads: int) -> Tensor:
    """A pre-norm block written out, head by head, in FP64."""
    parts = {name: value.double() for name, value in block.state_dict().items()}
    x = x.double()
    normed = naive_norm(x, parts["norm_attention.weight"], parts["norm_attention.bias"])
    joint = normed @ parts["attention.qkv.weight"].T + parts["attention.qkv.bias"]
    q, k, v = joint.chunk(3, dim=-1)  # (B, T, d) each
    width = q.shape[-1] // heads
    mixed = []
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        scores = q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(width)
        mixed.append(scores.softmax(-1) @ v[..., part])
    out = torch.cat(mixed, -1) @ parts["attention.project.weight"].T
    x = x + out + parts["attention.project.bias"]
    normed = naive_norm(x, parts["norm_mlp.weight"], parts["norm_mlp.bias"])
    hidden = normed @ parts["mlp.expand.weight"].T + parts["mlp.expand.bias"]
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
    return x + hidden @ parts["mlp.project.weight"].T + parts["mlp.project.bias"]


def naive_trunk(x: Tensor, trunk: Trunk, heads: int, every: int | None) -> Tensor:
    """The trunk on a table of 1 + h * w rows, as ViTPose has it."""
    shared = trunk.shared_position.flatten().double()
    rows = trunk.position[0].double()  # (d, h, w)
    cells = [(i, j) for i in range(x.shape[2]) for j in range(x.shape[3])]
    tokens = torch.stack([x[:, :, i, j].double() + rows[:, i, j] + shared for i, j in cells], dim=1)
    start = tokens
    for index, block in enumerate(trunk.blocks):
        tokens = naive_block(tokens, block, heads)  # type: ignore[arg-type]
        if every is not None and (index + 1) % every == 0:
            tokens = start = tokens + start
    tokens = naive_norm(tokens, trunk.norm.weight.double(), trunk.norm.bias.double())
    out = torch.empty_like(x, dtype=torch.float64)
    for index, (i, j) in enumerate(cells):
        out[:, :, i, j] = tokens[:, index]
    return out


@torch.no_grad()
@pytest.mark.parametrize("every", [None, 2, 4])
def test_trunk_is_the_printed_one(every: int | None) -> None:
    trunk = enliven(Trunk(TINY, GRID, shortcut_every=every)).eval()
    x = torch.randn(2, 24, *GRID)
    expected = naive_trunk(x, trunk, 3, every)
    torch.testing.assert_close(trunk(x), expected.float(), rtol=1e-4, atol=1e-5)
    without = naive_trunk(x, trunk, 3, None)
    assert every is None or not torch.allclose(expected, without, atol=0.1)


def test_groups_must_be_whole() -> None:
    with pytest.raises(AssertionError, match="4 blocks are no groups of 3"):
        Trunk(TINY, GRID, shortcut_every=3)


@torch.no_grad()
def test_patches_begin_two_pixels_before_the_image() -> None:
    embedding = patch_embedding(5)
    images = torch.randn(1, 3, 64, 48)
    out = embedding(images)
    assert out.shape == (1, 5, 4, 3)
    padded = torch.zeros(1, 3, 68, 52)
    padded[:, :, 2:66, 2:50] = images
    for row, column in ((0, 0), (1, 2), (3, 2)):
        patch = padded[0, :, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
        expected = (embedding.weight * patch).sum((1, 2, 3)) + embedding.bias
        torch.testing.assert_close(out[0, :, row, column], expected, rtol=1e-4, atol=1e-5)
    images[:, :, 62:, :] = 9
    images[:, :, :, 46:] = 9
    assert torch.equal(embedding(images), out)


@pytest.mark.parametrize(
    ("size", "block", "total"),
    [
        ("s", 1_774_464, 21_368_448),
        ("b", 7_087_872, 85_204_224),
        ("l", 12_596_224, 302_509_056),
        ("h", 19_677_440, 629_927_680),
    ],
)
def test_costs(size: str, block: int, total: int) -> None:
    """d^2 (4 + 8) + 13 d a block; a table of 193 rows and the last norm beside them."""
    config = SIZES[size]  # type: ignore[index]
    with torch.device("meta"):
        trunk = Trunk(config, (16, 12))
    assert count_params(trunk.blocks[0]) == block == 12 * config.channels**2 + 13 * config.channels
    assert count_params(trunk) == total == config.depth * block + (193 + 2) * config.channels


def test_initialisation_is_the_documented_one() -> None:
    trunk = Trunk(ViTConfig(channels=192, depth=1, heads=3), (16, 12))
    for weight in (
        trunk.position,
        trunk.blocks[0].attention.qkv.weight,
        trunk.blocks[0].mlp.project.weight,
    ):
        assert float(weight.detach().std()) == pytest.approx(0.02, rel=0.05)
    assert not trunk.blocks[0].mlp.expand.bias.any()
