"""The ready ONNX files of the zoo are what exporting the shipped weights makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgepose import zoo
from edgepose.crops import box_affines, to_input, warp_crops
from edgepose.export import export_model
from edgepose.runtime.onnxruntime import OnnxRunner
from edgepose.samples import load_samples

READY = [entry for entry in zoo.entries() if entry.onnx is not None]


@pytest.mark.parametrize("entry", READY, ids=lambda entry: entry.name)
def test_exporting_the_shipped_weights_makes_the_shipped_graph(
    entry: zoo.ZooEntry, tmp_path: Path
) -> None:
    assert entry.onnx is not None
    result = export_model(entry.name, None, tmp_path / "again.onnx")
    with OnnxRunner(entry.onnx) as shipped, OnnxRunner(result.path) as again:
        assert shipped.spec == again.spec
        for sample in load_samples():
            affines = box_affines(sample.boxes, shipped.spec.input_size, shipped.spec.padding)
            crops = warp_crops(sample.image, affines, shipped.spec.input_size)
            images = to_input(crops, shipped.spec)
            expected = shipped.infer(images)
            for name, value in again.infer(images).items():
                scale = np.abs(expected[name]).max()
                np.testing.assert_allclose(value, expected[name], rtol=0, atol=1e-5 * scale)


def test_the_default_model_is_among_them() -> None:
    assert "mitpose-lite" in {entry.model for entry in READY if entry.default}


def test_the_spec_says_what_the_zoo_says() -> None:
    for entry in READY:
        assert entry.onnx is not None
        with OnnxRunner(entry.onnx) as shipped:
            provenance = shipped.spec.provenance
        assert provenance.trained_on == entry.figures["trained_on"]
        assert provenance.holdout_only is entry.figures["holdout_only"]
        assert [m.ap for m in provenance.measured] == [m["ap"] for m in entry.figures["measured"]]
