from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import nn

from edgepose.errors import WeightsError
from edgepose.models import load_weights, save_weights
from edgepose.models.catalogue.simcc import MODELS
from edgepose.models.simcc import SimCC, SimCCHead, simcc, simcc_resnet50
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


@pytest.fixture(params=[((32, 32), (64, 64)), ((64, 48), (128, 96)), ((64, 64), (32, 32))])
def resized(request: pytest.FixtureRequest) -> tuple[SimCCHead, SimCCHead]:
    """A head for one keypoint, and the same at another input size."""
    torch.manual_seed(0)
    made_for, wanted = request.param
    old, new = SimCCHead(1, 1, made_for, 2.0), SimCCHead(1, 1, wanted, 2.0)
    with torch.no_grad():
        old.keypoint_maps.weight.fill_(1)
        old.x.bias.normal_()
        old.y.bias.normal_()
    new.load_state_dict(new.resampled(old.state_dict()))
    return old, new


@torch.no_grad()
def test_at_another_size_an_even_map_gives_the_same_vectors_resampled(
    resized: tuple[SimCCHead, SimCCHead],
) -> None:
    before, after = (head(torch.full((1, 1, *head.cells), 7.0)) for head in resized)
    for name, found in after.items():
        expected = nn.functional.interpolate(before[name], size=found.shape[2], mode="linear")
        torch.testing.assert_close(found, expected)


@torch.no_grad()
@pytest.mark.parametrize("place", [(0.3, 0.4), (0.5, 0.7), (0.8, 0.2)])
def test_at_another_size_a_blob_is_found_in_the_same_place(
    place: tuple[float, float], resized: tuple[SimCCHead, SimCCHead]
) -> None:
    before, after = (_where(head, place) for head in resized)
    assert before == pytest.approx((place[1], place[0]), abs=0.1)
    assert after == pytest.approx(before, abs=0.05)


def _where(head: SimCCHead, place: tuple[float, float]) -> tuple[float, float]:
    """Mean (x, y) of both distributions, as shares of the picture, for a blob at (y, x)."""
    across, along = (
        torch.exp(-(((torch.arange(cells) + 0.5) / cells - at) ** 2) / (2 * 0.1**2))
        for at, cells in zip(place, head.cells, strict=True)
    )
    outputs = head(20 * (across[:, None] * along)[None, None])
    means = []
    for name in ("simcc_x", "simcc_y"):
        chances = outputs[name][0, 0].softmax(-1)
        places = (torch.arange(len(chances)) + 0.5) / len(chances)
        means.append(float((chances * places).sum()))
    return means[0], means[1]


def _tiny(size: tuple[int, int], split_ratio: float = 2.0) -> SimCC:
    return SimCC(nn.AvgPool2d(4), 3, num_keypoints=5, input_size=size, split_ratio=split_ratio)


def test_a_file_of_another_size_loads(tmp_path: Path) -> None:
    file = tmp_path / "small.safetensors"
    small, large, again = _tiny((32, 32)), _tiny((64, 64)), _tiny((32, 32))
    save_weights(small, file, model="tiny", input_size=(32, 32))
    load_weights(large, file)
    expected = large.head.resampled(small.head.state_dict())
    for name, tensor in large.head.state_dict().items():
        assert torch.equal(tensor, expected[name])
    load_weights(again, file)
    assert torch.equal(again.head.x.weight, small.head.x.weight)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("weight", (64,)), ("weight", ()), ("weight", (64, 8, 8)), ("weight", (32, 64)),
     ("weight", (0, 64)), ("bias", (8, 8)), ("bias", (0,))],
)  # fmt: skip
def test_a_file_that_holds_no_such_layers_is_refused(
    name: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    tensors = _tiny((32, 32)).state_dict()
    tensors[f"head.x.{name}"] = torch.zeros(shape)
    file = tmp_path / "odd.safetensors"
    file.write_bytes(save(tensors, metadata={"model": "tiny"}))
    with pytest.raises(WeightsError, match=rf"head\.x\.{name}"):
        load_weights(_tiny((64, 64)), file)


def test_a_file_of_another_split_ratio_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "two.safetensors"
    save_weights(_tiny((32, 32)), file, model="tiny", input_size=(32, 32))
    with pytest.raises(WeightsError, match=r"head\.x\.weight \(64, 64\) instead of \(96, 64\)"):
        load_weights(_tiny((32, 32), split_ratio=3.0), file)
