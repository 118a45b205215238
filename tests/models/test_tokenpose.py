from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edgepose.errors import InputError
from edgepose.models.catalogue.tokenpose import MODELS
from edgepose.models.registry import _check_size
from edgepose.models.sine import sine_table
from edgepose.models.tokenpose import Encoder, HeatmapHead, KeypointTokens, tokenpose
from tests.models.helpers import count_macs, count_params, enliven, largest

B: dict[str, Any] = {"width": 32, "depths": (12,), "heads": 8}
D6: dict[str, Any] = {"width": 48, "depths": (2, 2, 2), "heads": 8}
D24: dict[str, Any] = {"width": 48, "depths": (8, 8, 8), "heads": 12}
COCO, MPII = ((256, 192), 17), ((256, 256), 16)
SMALL = (32, 48)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("options", "data", "params", "trainable", "gmacs"),
    [
        (B, COCO, 13_514_368, 13_465_216, 6.2761),
        (D6, COCO, 20_864_928, 20_815_776, 9.8665),
        (D24, COCO, 27_531_552, 27_482_400, 12.1931),
        ({**D6, "patch": (4, 4)}, MPII, 21_492_448, 21_443_296, 12.8910),
    ],
)
def test_costs(
    options: dict[str, Any],
    data: tuple[tuple[int, int], int],
    params: int,
    trainable: int,
    gmacs: float,
) -> None:
    size, keypoints = data
    with torch.device("meta"):
        model = tokenpose(size, keypoints, **options)
        out = model.eval()(torch.empty(2, 3, *size))["heatmaps"]
    assert out.shape == (2, keypoints, size[0] // 4, size[1] // 4)
    assert count_params(model) == params
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == trainable
    assert params - trainable == 256 * 192  # the sine table
    assert count_macs(model, 1, 3, *size) == pytest.approx(gmacs * 1e9, rel=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_the_catalogue_knows_them(name: str) -> None:
    entry = MODELS[name]
    options, params, gmacs = {
        "tokenpose-b": (B, 13_514_368, 6.2761),
        "tokenpose-l-d24": (D24, 27_531_552, 12.1931),
    }[name]
    assert (entry.options, entry.params, entry.gmacs) == (options, params, gmacs)


@pytest.mark.parametrize("name", MODELS)
def test_printed_figures_are_ours_after_conversion(name: str) -> None:
    """By the printed rule products of activations are free, and linear layers cost other sums."""
    entry = MODELS[name]
    printed = entry.printed
    assert printed.gflops is not None
    with torch.device("meta"):
        model = tokenpose((256, 192), 17, **entry.options).eval()
        inputs: list[tuple[Tensor, Tensor]] = []
        for layer in model.modules():
            if isinstance(layer, nn.Linear):
                layer.register_forward_hook(lambda m, i, out: inputs.append((i[0], out)))
        model(torch.empty(1, 3, 256, 192))
    # Outputs times tokens, not times channels.
    excess = sum(out.numel() * (x.shape[1] - x.shape[2]) for x, out in inputs)
    # With the authors the embedding is a linear layer too: 256 patches of 12 cells.
    excess += 256 * 192 * (256 - 12 * entry.options["width"])
    products = sum(entry.options["depths"]) * 2 * (256 + 17) ** 2 * 192
    found = printed.gflops * 2**30 / 1e9 + (products - excess) / 1e9
    assert printed.gmacs == pytest.approx(found, abs=0.006)
    assert printed.gmacs == pytest.approx(entry.gmacs, rel=0.01)
    assert printed.params_m == pytest.approx(entry.params / 1e6, abs=0.05)


def by_hand(tokens: KeypointTokens, x: Tensor, keypoints: int) -> Tensor:
    """The module's rule cell by cell: patches as vectors, positions added in place."""
    height, width = tokens.embed.kernel_size
    weight = tokens.embed.weight.permute(0, 2, 3, 1).flatten(1)  # over row, column, channel
    rows, columns = x.shape[2] // height, x.shape[3] // width
    patches = []
    for row in range(rows):
        for column in range(columns):
            cells = [
                x[:, :, row * height + i, column * width + j]
                for i in range(height)
                for j in range(width)
            ]
            patches.append(torch.cat(cells, dim=1) @ weight.T + tokens.embed.bias)
    table = sine_table(weight.shape[0], rows, columns)[0].flatten(1).T
    learned = tokens.keypoints.repeat(len(x), 1, 1)
    sequence = torch.cat([learned, torch.stack(patches, dim=1) + table], dim=1)
    found = []
    for stack in tokens.stacks:
        for number, layer in enumerate(stack):  # type: ignore[arg-type]
            if number:
                sequence[:, keypoints:] += table
            sequence = layer(sequence)
        found.append(sequence[:, :keypoints])
    return torch.cat(found, dim=2)


@pytest.mark.parametrize("depths", [(3,), (2, 1, 2)])
@torch.no_grad()
def test_tokens_are_made_and_placed_as_written(depths: tuple[int, ...]) -> None:
    sizes = Encoder(depths=depths, heads=2, channels=16)
    tokens = enliven(KeypointTokens(6, (8, 9), 5, sizes)).eval()
    x = torch.randn(2, 6, 8, 9)
    out = tokens(x)
    assert out.shape == (2, 5, 16 * len(depths))
    torch.testing.assert_close(out, by_hand(tokens, x, 5), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_keypoint_tokens_come_first_and_stay_apart() -> None:
    tokens = enliven(KeypointTokens(4, (8, 6), 3, Encoder(depths=(2,), heads=2, channels=16)))
    seen = []
    tokens.stacks[0][0].register_forward_pre_hook(  # type: ignore[index]
        lambda _module, inputs: seen.append(inputs[0])
    )
    x = torch.randn(2, 4, 8, 6)
    tokens(x)
    (sequence,) = seen
    assert sequence.shape == (2, 3 + 4, 16)
    for item in sequence:
        assert torch.equal(item[:3], tokens.keypoints[0])  # and nothing added
    placed = tokens.placed(sequence)
    assert torch.equal(placed[:, :3], sequence[:, :3])
    assert torch.equal(placed[:, 3:], sequence[:, 3:] + tokens.position)


@torch.no_grad()
def test_the_head_reads_each_keypoint_by_itself() -> None:
    head = enliven(HeatmapHead(8, (4, 3), 10))
    norm1, first, norm2, second = head.layers
    tokens = torch.randn(2, 5, 8)
    out = head(tokens)
    assert out.shape == (2, 5, 4, 3)
    expected = second(norm2(first(norm1(tokens[1, 3]))))
    torch.testing.assert_close(out[1, 3].flatten(), expected)


@pytest.mark.parametrize(
    ("options", "size", "widths"),
    [
        (B, (256, 192), [192, 384, 3072]),
        ({**B, "patch": (4, 4)}, (256, 256), [192, 512, 4096]),
        (B, (128, 96), [192, 768]),  # an eighth of 768 cells is below twice 192
        (B, (64, 48), [192, 192]),
        (D24, (256, 192), [576, 3072]),
        (D24, (512, 384), [576, 12288]),
    ],
)
def test_the_head_has_the_authors_layers(
    options: dict[str, Any], size: tuple[int, int], widths: list[int]
) -> None:
    with torch.device("meta"):
        _, head = tokenpose(size, 17, **options).heatmaps
    assert isinstance(head, HeatmapHead)
    linears = [layer for layer in head.layers if isinstance(layer, nn.Linear)]
    assert [linears[0].in_features, *(layer.out_features for layer in linears)] == widths


def test_initialisation_is_the_documented_one() -> None:
    tokens, head = tokenpose((256, 192), 17, **{**B, "depths": (1,)}).heatmaps
    assert isinstance(tokens, KeypointTokens)
    assert isinstance(head, HeatmapHead)
    layer = tokens.stacks[0][0]  # type: ignore[index]
    for weight, std in (
        (tokens.keypoints, 0.02),
        (tokens.embed.weight, 0.02),
        (layer.attention.q.weight, 0.02),
        (layer.mlp.project.weight, 0.02),
        (head.layers[1].weight, 0.02),
        (head.layers[3].weight, 0.001),
    ):
        assert float(weight.detach().std()) == pytest.approx(std, rel=0.1)


def test_gradients_reach_every_parameter_but_the_table() -> None:
    model = tokenpose(SMALL, 5, width=32, depths=(2, 1), heads=8)
    out = model(torch.randn(2, 3, *SMALL))["heatmaps"]
    assert out.shape == (2, 5, 8, 12)
    (out - 1).square().mean().backward()
    for name, parameter in model.named_parameters():
        if name == "heatmaps.0.position":
            assert not parameter.requires_grad
        else:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def test_an_item_does_not_depend_on_its_batch() -> None:
    model = enliven(tokenpose(SMALL, 5, width=32, depths=(2,), heads=8)).eval()
    images = torch.randn(3, 3, *SMALL)
    with torch.no_grad():
        together, alone = model(images)["heatmaps"], model(images[1:2])["heatmaps"]
    assert together.std() > 1e-3
    assert largest(together[1:2] - alone) < 1e-4 * largest(together)


@pytest.mark.parametrize("size", [(256, 192), (64, 48), (384, 288), (16, 96)])
def test_sizes_that_patches_tile_are_taken(size: tuple[int, int]) -> None:
    _check_size("tokenpose-b", MODELS["tokenpose-b"], size)
    with torch.device("meta"):
        tokenpose(size, 17, **B)


def test_other_sizes_are_refused_with_the_rule() -> None:
    words = r"height must be a multiple of 16, the width of 48\n.*tokenpose-b@256x240"
    with pytest.raises(InputError, match=words):
        _check_size("tokenpose-b", MODELS["tokenpose-b"], (256, 256))
    with pytest.raises(AssertionError, match="does not split"):
        tokenpose((256, 256), 17, **B)
