"""A bundle in parts: what was carried can be used, what was left behind is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.gpu.absent import Absent
from benchmarks.gpu.bundle import Bundle, BundleWriter, Graph, Manifest
from edgepose.errors import ArtefactError, InputError
from tests.benchmarks.gpu.bundles import bundle_in, write_bundle

NOISE = np.random.default_rng(0).integers(0, 256, 3 * 2**20, np.uint8).tobytes()


def cut(folder: Path) -> Manifest:
    """Three files of noise in parts of 2 MiB, one of which takes two parts or more."""
    writer = BundleWriter(folder, part_mib=2)
    for name, size in (("a", 1000), ("b", len(NOISE)), ("c", 2000)):
        writer.add(name, NOISE[:size])
    return writer.finish(Manifest(command="made", made_with={}, target="trt-8.6", models=()))


def test_a_manifest_reads_as_it_was_written(tmp_path: Path) -> None:
    written = write_bundle(
        tmp_path / "bundle", int8=Graph(file=None, words="nobody to calibrate on")
    )
    read = Bundle([tmp_path / "bundle"], tmp_path).manifest
    assert read == written
    assert read.models[0].graphs["int8"].words == "nobody to calibrate on"


def test_files_are_cut_to_the_size_of_a_part_and_put_together(tmp_path: Path) -> None:
    manifest = cut(tmp_path / "bundle")
    assert manifest.parts == 4
    assert len(manifest.files["b"].pieces) > 1
    for part in (tmp_path / "bundle").iterdir():
        assert sum(file.stat().st_size for file in part.iterdir()) <= 2 * 2**20
    bundle = Bundle([tmp_path / "bundle"], tmp_path / "work")
    assert bundle.path("b").read_bytes() == NOISE
    assert bundle.path("c").read_bytes() == NOISE[:2000]


def test_parts_may_be_named_one_by_one_and_one_left_behind(tmp_path: Path) -> None:
    cut(tmp_path / "bundle")
    parts = sorted((tmp_path / "bundle").iterdir())
    bundle = Bundle([parts[3], parts[0]], tmp_path / "work")
    assert bundle.path("a").read_bytes() == NOISE[:1000]
    with pytest.raises(Absent, match=r"b is not here: part-02, part-03 of the bundle was not"):
        bundle.path("b")
    assert bundle.path("c").read_bytes() == NOISE[:2000]


def test_what_was_put_together_is_not_needed_again(tmp_path: Path) -> None:
    cut(tmp_path / "bundle")
    whole = Bundle([tmp_path / "bundle"], tmp_path / "work")
    path = whole.path("b")
    first = tmp_path / "first"
    shutil.move(tmp_path / "bundle" / "part-01", first)
    assert Bundle([first], tmp_path / "work").path("b") == path


def test_a_damaged_piece_is_noticed(tmp_path: Path) -> None:
    bundle = bundle_in(tmp_path)
    piece = tmp_path / "bundle" / "part-01" / "tiny-fp32.onnx.0"
    data = bytearray(piece.read_bytes())
    data[len(data) // 2] ^= 0xFF
    piece.write_bytes(data)
    with pytest.raises(ArtefactError, match=r"tiny-fp32.onnx of the bundle is damaged"):
        bundle.path("tiny-fp32.onnx")
    assert not (tmp_path / "work" / "files" / "tiny-fp32.onnx").exists()


def test_parts_of_two_bundles_do_not_mix(tmp_path: Path) -> None:
    write_bundle(tmp_path / "one")
    write_bundle(tmp_path / "two", models=("other",))
    with pytest.raises(InputError, match="different bundles"):
        Bundle([tmp_path / "one", tmp_path / "two"], tmp_path)


def test_no_bundle_and_a_foreign_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no bundle"):
        Bundle([tmp_path], tmp_path)
    write_bundle(tmp_path / "bundle")
    manifest = tmp_path / "bundle" / "part-01" / "manifest.json"
    data = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(data | {"schema": 99}))
    with pytest.raises(InputError, match="schema 99"):
        Bundle([tmp_path / "bundle"], tmp_path)
    manifest.write_text("{}")
    with pytest.raises(InputError, match="cannot read"):
        Bundle([tmp_path / "bundle"], tmp_path)


def test_a_full_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    with pytest.raises(InputError, match="not empty"):
        BundleWriter(tmp_path)
