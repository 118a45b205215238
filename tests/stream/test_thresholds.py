from __future__ import annotations

import pytest

from edgepose.spec import DecoderSpec, PoseSpec
from edgepose.stream.thresholds import joint_threshold
from tests.fakes import heatmap_spec


def simcc(size: tuple[int, int], split: float = 2.0) -> PoseSpec:
    decoder = DecoderSpec(name="simcc", split_ratio=split)
    return PoseSpec(model="m", input_size=size, output="simcc", decoder=decoder)


def test_heatmaps_peak_at_one() -> None:
    assert joint_threshold(heatmap_spec()) == 0.3


def test_simcc_peaks_are_as_low_as_their_label_is_wide() -> None:
    assert joint_threshold(simcc((32, 32))) == pytest.approx(0.3 * 0.319, rel=0.01)
    assert joint_threshold(simcc((128, 128))) == pytest.approx(0.3 * 0.130, rel=0.01)
    assert joint_threshold(simcc((256, 192))) < joint_threshold(simcc((128, 128)))
