"""Every published size: the authors' names and shapes, translated, are exactly the model's."""

from __future__ import annotations

import pytest
import torch

from edgepose.models.catalogue import hrnet, simcc, simplebaseline
from edgepose.models.registry import named
from tests.models.checkpoints import published

MODELS = hrnet.MODELS | simplebaseline.MODELS | simcc.MODELS
HRNETS = {name: e.options["width"] for name, e in MODELS.items() if "width" in e.options}


def simcc_head(size: tuple[int, int]) -> published.Shapes:
    height, width = size
    cells = height // 4 * (width // 4)
    return published.linear("mlp_head_x", 2 * width, cells) | published.linear(
        "mlp_head_y", 2 * height, cells
    )


@pytest.mark.parametrize("name", MODELS)
def test_nothing_is_missing_and_nothing_is_left_over(name: str) -> None:
    entry = MODELS[name]
    size = (256, 192)  # what the authors publish for all of them
    width = HRNETS.get(name)
    trunk = published.resnet50_shapes() if width is None else published.hrnet_shapes(width)
    shapes = trunk | published.final_layer(17, width or 256)
    if entry.output == "simcc":
        shapes |= simcc_head(size)
    assert entry.authors is not None
    translated = named(entry.authors.translate)(published.on_meta(shapes))
    with torch.device("meta"):
        model = named(entry.builder)(size, 17, **entry.options)
    expected = {key: tensor.shape for key, tensor in model.state_dict().items()}
    assert {key: tensor.shape for key, tensor in translated.items()} == expected


@pytest.mark.parametrize("name", MODELS)
def test_their_outputs_are_read_at_the_cells_corners(name: str) -> None:
    entry = MODELS[name]
    assert entry.authors is not None
    decoder = entry.authors.decoder
    assert decoder.alignment == "corner"
    assert decoder.name == ("quarter" if entry.output == "heatmap" else "simcc")
    if entry.output == "simcc":
        assert decoder.split_ratio == entry.decoder.split_ratio


@pytest.mark.parametrize("name", MODELS)
def test_resnets_were_trained_on_bgr(name: str) -> None:
    """Their settings say COLOR_RGB: false for pose_resnet, true for pose_hrnet."""
    authors = MODELS[name].authors
    assert authors is not None
    assert authors.colour == ("rgb" if name in HRNETS else "bgr")
