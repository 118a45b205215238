from __future__ import annotations

import pytest
import torch

from edgepose.models.simcc import SimCCHead, simcc
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
