from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from edgepose.errors import WeightsError
from edgepose.models import load_weights
from edgepose.models.catalogue.vitpose import MODELS
from edgepose.models.checkpoints.vitpose import translate
from edgepose.models.registry import named
from edgepose.models.vit import SIZES, ViTConfig
from edgepose.models.vitpose import Decoder, ViTPose, vitpose
from tests.models.checkpoints import published

TINY = ViTConfig(channels=24, depth=2, heads=3)
Shape = tuple[str, tuple[int, ...]]


def layer(name: str, *shape: int) -> Iterator[Shape]:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


def shapes(config: ViTConfig, cells: int, decoder: Decoder, keypoints: int = 17) -> dict:
    """Names and shapes of ViTAE-Transformer/ViTPose's checkpoints, in the order of its modules."""
    return dict(_shapes(config, cells, decoder, keypoints))


def _shapes(config: ViTConfig, cells: int, decoder: Decoder, keypoints: int) -> Iterator[Shape]:
    d = config.channels
    yield "backbone.pos_embed", (1, cells + 1, d)
    yield from layer("backbone.patch_embed.proj", d, 3, 16, 16)
    for index in range(config.depth):
        block = f"backbone.blocks.{index}"
        yield from layer(f"{block}.norm1", d)
        yield from layer(f"{block}.attn.qkv", 3 * d, d)
        yield from layer(f"{block}.attn.proj", d, d)
        yield from layer(f"{block}.norm2", d)
        yield from layer(f"{block}.mlp.fc1", 4 * d, d)
        yield from layer(f"{block}.mlp.fc2", d, 4 * d)
    yield from layer("backbone.last_norm", d)
    if decoder == "classic":
        for index, channels in ((0, d), (3, 256)):
            yield f"keypoint_head.deconv_layers.{index}.weight", (channels, 256, 4, 4)
            yield from published.norm(f"keypoint_head.deconv_layers.{index + 1}", 256)
        yield from layer("keypoint_head.final_layer", keypoints, 256, 1, 1)
    else:
        yield from layer("keypoint_head.final_layer", keypoints, d, 3, 3)


def checkpoint(cells: int, decoder: Decoder) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    tensors = {}
    for name, shape in shapes(TINY, cells, decoder).items():
        if name.endswith("num_batches_tracked"):
            tensors[name] = torch.tensor(7)
        elif name.endswith("running_var"):
            tensors[name] = torch.rand(shape, generator=random) + 0.5
        else:
            tensors[name] = 0.2 * torch.randn(shape, generator=random)
    return tensors


def authors_forward(t: dict[str, Tensor], images: Tensor, decoder: Decoder) -> Tensor:
    """Their arithmetic, on their names."""

    def affine(x: Tensor, name: str) -> Tensor:
        return F.linear(x, t[f"{name}.weight"], t[f"{name}.bias"])

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, (TINY.channels,), t[f"{name}.weight"], t[f"{name}.bias"], eps=1e-6)

    x = F.conv2d(
        images,
        t["backbone.patch_embed.proj.weight"],
        t["backbone.patch_embed.proj.bias"],
        stride=16,
        padding=2,
    )
    height, width = x.shape[2:]
    x = x.flatten(2).transpose(1, 2)
    x = x + t["backbone.pos_embed"][:, 1:] + t["backbone.pos_embed"][:, :1]
    for index in range(TINY.depth):
        block = f"backbone.blocks.{index}"
        batch, tokens, d = x.shape
        qkv = affine(norm(x, f"{block}.norm1"), f"{block}.attn.qkv")
        q, k, v = qkv.reshape(batch, tokens, 3, TINY.heads, -1).permute(2, 0, 3, 1, 4)
        shares = (q * (d // TINY.heads) ** -0.5 @ k.transpose(-2, -1)).softmax(-1)
        mixed = (shares @ v).transpose(1, 2).reshape(batch, tokens, d)
        x = x + affine(mixed, f"{block}.attn.proj")
        hidden = F.gelu(affine(norm(x, f"{block}.norm2"), f"{block}.mlp.fc1"))
        x = x + affine(hidden, f"{block}.mlp.fc2")
    x = norm(x, "backbone.last_norm").transpose(1, 2).reshape(-1, TINY.channels, height, width)
    head = "keypoint_head.final_layer"
    if decoder == "simple":
        x = F.interpolate(x.relu(), scale_factor=4, mode="bilinear", align_corners=False)
        return F.conv2d(x, t[f"{head}.weight"], t[f"{head}.bias"], padding=1)
    for index in (0, 3):
        name, after = (f"keypoint_head.deconv_layers.{i}" for i in (index, index + 1))
        x = F.conv_transpose2d(x, t[f"{name}.weight"], stride=2, padding=1)
        statistics = (t[f"{after}.running_mean"], t[f"{after}.running_var"])
        x = F.batch_norm(x, *statistics, t[f"{after}.weight"], t[f"{after}.bias"]).relu()
    return F.conv2d(x, t[f"{head}.weight"], t[f"{head}.bias"])


@pytest.mark.parametrize("decoder", ["classic", "simple"])
@pytest.mark.parametrize("size", [(64, 48), (64, 64)])
def test_a_checkpoint_computes_what_it_did_for_the_authors(
    tmp_path: Path, decoder: Decoder, size: tuple[int, int]
) -> None:
    cells = size[0] // 16 * (size[1] // 16)
    tensors = checkpoint(cells, decoder)
    file = tmp_path / "vitpose.pth"
    torch.save({"meta": {"epoch": 210}, "state_dict": tensors}, file)
    model = ViTPose(size, 17, TINY, decoder)
    assert load_weights(model, file, translate) == {"origin": "authors"}
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = model.eval()(images)["heatmaps"]
    expected = authors_forward(tensors, images, decoder)
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("decoder", ["classic", "simple"])
@pytest.mark.parametrize("size", ["s", "b", "l", "h"])
def test_nothing_is_missing_and_nothing_is_left_over(size: str, decoder: Decoder) -> None:
    config = SIZES[size]  # type: ignore[index]
    translated = translate(published.on_meta(shapes(config, 192, decoder)))
    with torch.device("meta"):
        model = vitpose((256, 192), 17, size=size, decoder=decoder)  # type: ignore[arg-type]
    expected = {key: tensor.shape for key, tensor in model.state_dict().items()}
    assert {key: tensor.shape for key, tensor in translated.items()} == expected


@pytest.mark.parametrize("name", MODELS)
def test_the_registry_reads_them_as_udp(name: str) -> None:
    authors = MODELS[name].authors
    assert authors is not None
    assert named(authors.translate) is translate
    assert (authors.decoder.name, authors.decoder.alignment) == ("dark", "unit")


@pytest.mark.parametrize(
    ("cells", "grid"), [(192, (16, 12)), (432, (24, 18)), (256, (16, 16)), (12, (4, 3))]
)
def test_the_table_is_read_row_by_row(cells: int, grid: tuple[int, int]) -> None:
    table = torch.arange(-1.0, cells).reshape(1, cells + 1, 1).expand(1, cells + 1, 5)
    translated = translate({"backbone.pos_embed": table})
    position = translated["trunk.position"]
    assert position.shape == (1, 5, *grid)
    assert position[0, 3, 0, :3].tolist() == [0, 1, 2]
    assert float(position[0, 3, 1, 0]) == grid[1]
    assert translated["trunk.shared_position"].flatten().tolist() == [-1] * 5


@pytest.mark.parametrize("shape", [(1, 1, 5), (1, 14, 5), (193, 5)])
def test_a_table_of_no_known_grid_is_reported(shape: tuple[int, ...]) -> None:
    assert list(translate({"backbone.pos_embed": torch.zeros(shape)})) == ["backbone.pos_embed"]


def test_experts_of_vitpose_plus_are_reported(tmp_path: Path) -> None:
    tensors = checkpoint(12, "simple")
    tensors["backbone.blocks.0.mlp.experts.0.weight"] = torch.zeros(4, 96)
    file = tmp_path / "plus.pth"
    torch.save({"state_dict": tensors}, file)
    with pytest.raises(WeightsError, match=r"1 unexpected.*mlp\.experts\.0\.weight"):
        load_weights(ViTPose((64, 48), 17, TINY, "simple"), file, translate)


def test_another_decoder_is_reported(tmp_path: Path) -> None:
    file = tmp_path / "classic.pth"
    torch.save({"state_dict": checkpoint(12, "classic")}, file)
    with pytest.raises(WeightsError, match=r"unexpected \(decoder\.0\.0\.weight"):
        load_weights(ViTPose((64, 48), 17, TINY, "simple"), file, translate)
