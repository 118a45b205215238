from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from edgepose.crops import box_affines, to_input, warp_crops
from edgepose.decode import decode
from edgepose.export.fold_io import DecodeHeatmaps, FoldedIO, Normalise, folded_spec
from edgepose.export.trace import trace
from edgepose.poses import UInt8
from edgepose.spec import PoseSpec
from tests.export.tiny import (
    SIZE,
    TinyHeatmaps,
    TinySimCC,
    heatmap_spec,
    people,
    simcc_spec,
)

CASES = {
    "dark": (TinyHeatmaps, heatmap_spec("dark")),
    "quarter": (TinyHeatmaps, heatmap_spec("quarter", "corner")),
    "argmax": (TinyHeatmaps, heatmap_spec("argmax", "unit")),
    "simcc": (TinySimCC, simcc_spec()),
}


def crops(count: int) -> UInt8:
    parts = [warp_crops(p.image, box_affines(p.boxes, SIZE, 1.25), SIZE) for p in people(count)]
    return np.concatenate(parts)


@pytest.mark.parametrize("case", CASES)
def test_same_poses_on_real_crops_as_outside_the_graph(case: str) -> None:
    make, spec = CASES[case]
    module = make()
    plain = trace(module, torch.zeros(3, *SIZE))
    folded = trace(FoldedIO(module, spec), torch.zeros(*SIZE, 3, dtype=torch.uint8))
    sessions = [onnxruntime.InferenceSession(m.SerializeToString()) for m in (plain, folded)]
    for batch in (1, 3):
        pictures = crops(batch)
        assert len(pictures) == batch
        names = [o.name for o in sessions[0].get_outputs()]
        raw = sessions[0].run(names, {"images": to_input(pictures, spec)})
        keypoints, scores = decode(dict(zip(names, raw, strict=True)), spec)
        found = sessions[1].run(
            ["keypoints", "scores"], {"images": to_input(pictures, folded_spec(spec))}
        )
        assert np.abs(found[0] - keypoints).max() < 0.01
        assert np.abs(found[1] - scores).max() < 1e-5
        assert np.ptp(keypoints[..., 0]) > 10  # the tiny model does look at the picture


def test_the_folded_spec_takes_bytes_as_they_come() -> None:
    spec = folded_spec(heatmap_spec())
    assert (spec.dtype, spec.layout, spec.colour) == ("uint8", "nhwc", "bgr")
    assert (spec.output, spec.decoder.name) == ("keypoints", "none")
    assert PoseSpec.from_json(spec.to_json()) == spec
    pictures = crops(1)
    assert np.array_equal(to_input(pictures, spec), pictures)


@pytest.mark.parametrize("colour", ["rgb", "bgr"])
def test_normalisation_is_that_of_the_crops(colour: str) -> None:
    spec = replace(heatmap_spec(), colour=colour)
    pictures = crops(2)
    inside = Normalise(spec)(torch.from_numpy(pictures)).numpy()
    np.testing.assert_allclose(inside, to_input(pictures, spec), atol=1e-6)


class _Maps(nn.Module):
    """Puts given maps through the decoder."""

    def __init__(self, spec: PoseSpec) -> None:
        super().__init__()
        self.decode = DecodeHeatmaps(spec)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = self.decode({"heatmaps": maps})
        return found


@pytest.mark.parametrize("decoder", ["dark", "quarter", "argmax"])
def test_decoder_at_borders_ties_and_negative_maps(decoder: str) -> None:
    """Where the formulas have their special cases: each against the decoder outside the graph."""
    spec = heatmap_spec(decoder)
    random = np.random.default_rng(0)
    maps = random.normal(0, 0.2, (4, 17, 16, 12)).astype(np.float32)
    cells = [(0, 0), (0, 11), (15, 0), (15, 11), (1, 5), (7, 1), (14, 10), (8, 6)]
    for joint, (row, column) in enumerate(cells):
        maps[0, joint, row, column] = 3
    maps[1] = 0  # all equal
    maps[2] = -np.abs(maps[2])  # nothing above zero
    maps[3, :, 4:6, 4:6] = 2  # a plateau
    keypoints, scores = decode({"heatmaps": maps}, spec)
    found = _Maps(spec)(torch.from_numpy(maps))
    np.testing.assert_allclose(found[0].numpy(), keypoints, atol=2e-3)
    np.testing.assert_allclose(found[1].numpy(), scores, atol=1e-6)
