from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from edgepose.models.catalogue.tokenpose import MODELS
from edgepose.models.checkpoints.tokenpose import translate
from edgepose.models.registry import named
from edgepose.models.tokenpose import tokenpose
from tests.models.checkpoints import published
from tests.models.checkpoints.test_transpose import norm, table

MODULES = (1, 4)
D = 192
NATIVE = (256, 192)


def stack_names(depths: tuple[int, ...]) -> list[str]:
    """B has one transformer, L three with numbers."""
    return ["transformer"] if len(depths) == 1 else [f"transformer{i}" for i in (1, 2, 3)]


def shapes(options: dict[str, Any], size: tuple[int, int], keypoints: int = 17) -> published.Shapes:
    width, depths = options["width"], options["depths"]
    high, wide = options.get("patch", (4, 3))
    grid = (size[0] // 4, size[1] // 4)
    cells, tokens = grid[0] * grid[1], grid[0] // high * (grid[1] // wide)
    trunk = published.hrnet_shapes(width, MODULES)
    found: published.Shapes = {f"pre_feature.{name}": shape for name, shape in trunk.items()}
    p = "transformer"
    found[f"{p}.keypoint_token"] = (1, keypoints, D)
    found[f"{p}.pos_embedding"] = (1, tokens, D)
    found |= published.linear(f"{p}.patch_to_embedding", D, high * wide * width)
    for stack, depth in zip(stack_names(depths), depths, strict=True):
        for index in range(depth):
            layer = f"{p}.{stack}.layers.{index}"
            found |= norm(f"{layer}.0.fn.norm", D)
            found[f"{layer}.0.fn.fn.to_qkv.weight"] = (3 * D, D)
            found |= published.linear(f"{layer}.0.fn.fn.to_out.0", D, D)
            found |= norm(f"{layer}.1.fn.norm", D)
            found |= published.linear(f"{layer}.1.fn.fn.net.0", 3 * D, D)
            found |= published.linear(f"{layer}.1.fn.fn.net.3", D, 3 * D)
    joined, hidden = D * len(depths), cells // 8
    found |= norm(f"{p}.mlp_head.0", joined)
    if len(depths) == 1 and joined <= hidden * 0.5:
        found |= published.linear(f"{p}.mlp_head.1", hidden, joined)
        found |= norm(f"{p}.mlp_head.2", hidden) | published.linear(
            f"{p}.mlp_head.3", cells, hidden
        )
    else:
        found |= published.linear(f"{p}.mlp_head.1", cells, joined)
    return found


def read(t: published.Tensors, features: Tensor, options: dict[str, Any]) -> Tensor:
    """What the authors' forward computes from HRNet's map."""
    p, heads, depths = "transformer", options["heads"], options["depths"]
    high, wide = options.get("patch", (4, 3))
    batch, channels, height, width = features.shape
    x = features.reshape(batch, channels, height // high, high, width // wide, wide)
    x = x.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, high * wide * channels)
    x = _linear(t, f"{p}.patch_to_embedding", x)
    x = x + t[f"{p}.pos_embedding"]
    keypoints = t[f"{p}.keypoint_token"].shape[1]
    x = torch.cat([t[f"{p}.keypoint_token"].repeat(batch, 1, 1), x], dim=1)
    outputs = []
    for stack, depth in zip(stack_names(depths), depths, strict=True):
        for index in range(depth):
            if index > 0:
                x[:, keypoints:] += t[f"{p}.pos_embedding"]
            layer = f"{p}.{stack}.layers.{index}"
            qkv = F.linear(_norm(t, f"{layer}.0.fn.norm", x), t[f"{layer}.0.fn.fn.to_qkv.weight"])
            q, k, v = (
                part.reshape(batch, -1, heads, D // heads).permute(0, 2, 1, 3)
                for part in qkv.split(D, dim=2)
            )
            mixed = F.scaled_dot_product_attention(q, k, v).permute(0, 2, 1, 3).flatten(2)
            x = x + _linear(t, f"{layer}.0.fn.fn.to_out.0", mixed)
            hidden = F.gelu(_linear(t, f"{layer}.1.fn.fn.net.0", _norm(t, f"{layer}.1.fn.norm", x)))
            x = x + _linear(t, f"{layer}.1.fn.fn.net.3", hidden)
        outputs.append(x[:, :keypoints])
    x = _linear(t, f"{p}.mlp_head.1", _norm(t, f"{p}.mlp_head.0", torch.cat(outputs, dim=2)))
    if f"{p}.mlp_head.3.weight" in t:
        x = _linear(t, f"{p}.mlp_head.3", _norm(t, f"{p}.mlp_head.2", x))
    return x.reshape(batch, keypoints, height, width)


def _linear(t: published.Tensors, name: str, x: Tensor) -> Tensor:
    return F.linear(x, t[f"{name}.weight"], t[f"{name}.bias"])


def _norm(t: published.Tensors, name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], t[f"{name}.weight"], t[f"{name}.bias"])


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"width": 8, "depths": (2,), "heads": 8}, (64, 48)),
        ({"width": 8, "depths": (2, 1, 2), "heads": 12}, (64, 48)),
        ({"width": 4, "depths": (1,), "heads": 8, "patch": (4, 4)}, (256, 256)),
    ],
    ids=["one stack", "three stacks", "square patches and two layers in the head"],
)
@torch.no_grad()
def test_the_translated_model_computes_what_the_authors_compute(
    options: dict[str, Any], size: tuple[int, int]
) -> None:
    tensors = published.filled(shapes(options, size, keypoints=5))
    for name in list(tensors):  # attention far from uniform
        if name.endswith("to_qkv.weight"):
            tensors[name] *= 2
    model = tokenpose(size, 5, **options).eval()
    model.load_state_dict(translate(tensors))
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(3))
    trunk = {n.removeprefix("pre_feature."): t for n, t in tensors.items()}
    features = published.hrnet_features(trunk, images, MODULES)
    ours, theirs = model(images)["heatmaps"], read(tensors, features, options)
    assert ours.std() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_nothing_is_missing_and_nothing_is_left_over(name: str) -> None:
    entry = MODELS[name]
    assert entry.authors is not None
    theirs = published.on_meta(shapes(dict(entry.options), NATIVE))
    translated = named(entry.authors.translate)(theirs)
    with torch.device("meta"):
        model = named(entry.builder)(NATIVE, 17, **entry.options)
    expected = {key: tensor.shape for key, tensor in model.state_dict().items()}
    assert {key: tensor.shape for key, tensor in translated.items()} == expected


def test_their_table_is_ours() -> None:
    """Theirs is (1, cells, d); ours, from :mod:`edgepose.models.sine`, has to agree with it."""
    model = tokenpose(NATIVE, 3, width=4, depths=(1,), heads=8)
    authors = table(D, 16, 16).transpose(0, 1)
    tokens = model.heatmaps[0]
    assert tokens.position.shape == authors.shape
    torch.testing.assert_close(tokens.position.detach(), authors, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(), (2,), (4, 2)])
def test_a_joint_tensor_that_has_no_three_parts_is_passed_on(shape: tuple[int, ...]) -> None:
    name = "transformer.transformer.layers.0.0.fn.fn.to_qkv.weight"
    assert list(translate({name: torch.zeros(shape)})) == [name]


def test_names_of_another_model_are_passed_on() -> None:
    strange = [
        "pre_feature.incre_modules.0.weight",
        "pre_feature.final_layer.weight",
        "transformer.transformer4.layers.0.0.fn.norm.weight",
        "transformer.patch_to_embedding.weight",  # without a trunk, its patch is not known
        "conv1.weight",
    ]
    assert sorted(translate({name: torch.zeros(3, 3) for name in strange})) == sorted(strange)


@pytest.mark.parametrize("name", MODELS)
def test_their_outputs_are_read_as_they_trained_them(name: str) -> None:
    """Their settings: COLOR_RGB, BLUR_KERNEL 11 and DARK's decoding, targets at the corners."""
    authors = MODELS[name].authors
    assert authors is not None
    decoder = authors.decoder
    assert (decoder.name, decoder.alignment, decoder.blur_kernel) == ("dark", "corner", 11)
    assert authors.colour == "rgb"
