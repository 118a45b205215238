from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers import onnxruntime_pairs
from edgepose.bench import sample_scene
from edgepose.crops import box_affines, to_input, warp_crops
from tests.fakes import heatmap_spec, write_tiny_onnx


def test_the_bare_crop_is_the_crop_but_for_half_a_pixel() -> None:
    spec = heatmap_spec((256, 192))
    rows, columns = np.mgrid[:424, :640]
    image = np.stack([rows * 0.5, columns * 0.3, rows * 0.2 + columns * 0.2], 2).astype(np.uint8)
    box = np.array([200, 100, 320, 300], np.float32)
    bare = onnxruntime_pairs.input_of(image, box, spec)
    ours = to_input(warp_crops(image, box_affines(box[None], (256, 192), 1.25), (256, 192)), spec)
    assert bare.shape == (3, 256, 192)
    assert bare.dtype == np.float32
    assert np.abs(bare - ours[0]).max() < 1.5 / 57  # a level of 255, in the network's units


def test_the_loop_asks_for_each_person_and_the_batch_once(tmp_path: Path) -> None:
    path = write_tiny_onnx(tmp_path / "tiny.onnx", heatmap_spec())
    scene = sample_scene()
    loop, batch = (
        onnxruntime_pairs.bare_pipeline(kind, path, heatmap_spec(), 1).call(
            scene.image, scene.people(3)
        )
        for kind in ("loop", "batch")
    )
    assert (len(loop), len(batch)) == (3, 1)
    np.testing.assert_allclose(np.concatenate([maps for (maps,) in loop]), batch[0][0], atol=1e-6)


def test_the_whole_script(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Really timed, on a net that takes no time."""
    write_tiny_onnx(tmp_path / "rtmpose-t.onnx", heatmap_spec())
    words = ["--only", "rtmpose-t", "--rounds", "5", "--threads", "1", "--json"]
    monkeypatch.setattr(
        sys, "argv", ["onnxruntime_pairs.py", str(tmp_path), *words, "--out", str(tmp_path / "out")]
    )
    assert onnxruntime_pairs.main() == 0
    record = json.loads(capsys.readouterr().out)
    assert record["runner"]["runtime"] == "onnxruntime"
    assert len(record["results"]) == 2 * 2 * 2
    assert all(row["met"] is None and row["ratio"] > 0 for row in record["results"])
