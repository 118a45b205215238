from __future__ import annotations

import pytest
import torch

from edgepose.models.catalogue.simcc import MODELS
from edgepose.models.simcc import SimCCHead, simcc, simcc_resnet50
from tests.models.helpers import count_macs, count_params


@pytest.mark.parametrize(
    ("width", "size", "split", "mparams", "gmacs"),
    [
        (32, (64, 64), 3.0, 28.6348, 0.6388),
        (48, (64, 64), 3.0, 63.6944, 1.3093),
        (48, (256, 192), 2.0, 66.3492, 15.7386),
    ],
)
def test_costs(
    width: int, size: tuple[int, int], split: float, mparams: float, gmacs: float
) -> None:
    with torch.device("meta"):
        model = simcc(size, 17, width=width, split_ratio=split)
    assert round(count_params(model) / 1e6, 4) == mparams
    assert count_macs(model, 1, 3, *size) == pytest.approx(gmacs * 1e9, rel=1e-3)


@pytest.mark.parametrize(
    ("size", "split", "mparams", "gmacs"),
    [
        ((32, 32), 3.0, 34.0122, 0.1133),
        ((64, 64), 3.0, 34.0984, 0.4539),
        ((128, 128), 2.0, 34.5245, 1.8177),
        ((256, 192), 2.0, 36.7531, 5.4732),
    ],
)
def test_costs_on_resnet(size: tuple[int, int], split: float, mparams: float, gmacs: float) -> None:
    with torch.device("meta"):
        model = simcc_resnet50(size, 17, split_ratio=split)
    assert round(count_params(model) / 1e6, 4) == mparams
    assert count_macs(model, 1, 3, *size) == pytest.approx(gmacs * 1e9, rel=1e-3)


@pytest.mark.parametrize("split", [1.0, 1.5, 2.0, 3.0])
def test_the_split_ratio_decides_the_bins(split: float) -> None:
    outputs = SimCCHead(6, 5, (64, 32), split)(torch.zeros(2, 6, 16, 8))
    assert outputs["simcc_x"].shape == (2, 5, round(32 * split))
    assert outputs["simcc_y"].shape == (2, 5, round(64 * split))


def test_head_reads_each_keypoint_with_the_same_two_layers() -> None:
    torch.manual_seed(0)
    head = SimCCHead(6, 3, (16, 8), split_ratio=3.0)
    features = torch.randn(2, 6, 4, 2)
    outputs = head(features)
    assert {k: tuple(v.shape) for k, v in outputs.items()} == {
        "simcc_x": (2, 3, 24),
        "simcc_y": (2, 3, 48),
    }
    kernel, bias = head.keypoint_maps.weight[:, :, 0, 0], head.keypoint_maps.bias
    for item in range(2):
        for keypoint in range(3):
            flat = (kernel[keypoint] @ features[item].flatten(1) + bias[keypoint]).flatten()
            for key, linear in (("simcc_x", head.x), ("simcc_y", head.y)):
                expected = linear.weight @ flat + linear.bias
                torch.testing.assert_close(outputs[key][item, keypoint], expected)


@pytest.mark.parametrize("split", [1.0, 2.0, 3.0])
def test_a_fresh_head_reads_its_maps_as_heatmaps(split: float) -> None:
    """A lone peak in a map is the peak of both vectors, over the cell it lies in."""
    torch.manual_seed(0)
    head = SimCCHead(1, 1, (32, 24), split)
    with torch.no_grad():
        head.keypoint_maps.weight.fill_(1)
        for row, column in ((0, 0), (3, 1), (7, 5), (5, 2)):
            features = torch.zeros(1, 1, 8, 6)
            features[0, 0, row, column] = 1
            outputs = head(features)
            for axis, cell in (("x", column), ("y", row)):
                bin_centre = (int(outputs[f"simcc_{axis}"].argmax()) + 0.5) / split
                assert abs(bin_centre - 4 * (cell + 0.5)) <= 1.5, (axis, cell)


def test_a_fresh_heads_logits_are_in_range() -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        outputs = SimCCHead(32, 17, (64, 48), 2.0)(torch.randn(4, 32, 16, 12).relu())
    for logits in outputs.values():
        assert 0.3 < float(logits.std()) < 3


@pytest.mark.parametrize("name", MODELS)
def test_printed_figures_are_ours_after_conversion(name: str) -> None:
    entry = MODELS[name]
    printed = entry.printed
    assert entry.options["split_ratio"] == entry.decoder.split_ratio
    if printed.gflops is None:
        assert printed.gmacs is None
        return
    assert printed.gmacs == pytest.approx(printed.gflops * 2**30 / 1e9, abs=0.005)
    assert printed.gmacs == pytest.approx(entry.gmacs, rel=0.02)
    assert printed.params_m == pytest.approx(entry.params / 1e6, abs=0.05)
