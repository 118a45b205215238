from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgepose.errors import SpecError
from edgepose.spec import COCO_KEYPOINTS, DecoderSpec, KeypointSet, Measurement, PoseSpec
from edgepose.spec_toml import load_spec_toml, spec_to_toml
from tests.fakes import heatmap_spec

FOREIGN = """
model = "rtmpose-t"
input_size = [256, 192]
output = "simcc"
mean = [123.675, 116.28, 103.53]

[decoder]
name = "simcc"
alignment = "corner"
split_ratio = 2.0
"""


def stored(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "spec.toml"
    path.write_text(text)
    return path


def test_a_spec_by_hand_needs_only_what_has_no_default(tmp_path: Path) -> None:
    spec = load_spec_toml(stored(tmp_path, FOREIGN))
    assert spec.input_size == (256, 192)
    assert spec.decoder == DecoderSpec(name="simcc", alignment="corner", split_ratio=2.0)
    assert spec.keypoints == COCO_KEYPOINTS
    assert spec.padding == 1.25


@pytest.mark.parametrize(
    "spec",
    [
        heatmap_spec(),
        heatmap_spec(
            keypoints=KeypointSet(
                names=('left "paw"', "right_paw"),
                flip_pairs=((0, 1),),
                skeleton=((0, 1),),
                sigmas=(0.05, 0.05),
            )
        ),
        heatmap_spec().with_provenance(
            trained_on="13,369 persons",
            weights_sha256="ab",
            measured=(Measurement(ap=61.5, ar=66.0, protocol="GT boxes"),),
        ),
        replace(heatmap_spec(), dtype="uint8", layout="nhwc", colour="bgr"),
    ],
)
def test_what_is_written_reads_back(spec: PoseSpec, tmp_path: Path) -> None:
    assert load_spec_toml(stored(tmp_path, spec_to_toml(spec))) == spec


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model = ", "not TOML"),
        (FOREIGN + "speed = 3", "unknown fields ['speed']"),
        (FOREIGN.replace('output = "simcc"', ""), "lacks ['output']"),
        (FOREIGN.replace('output = "simcc"', 'output = "boxes"'), "'boxes'"),
        (FOREIGN.replace("[256, 192]", "[256]"), "input_size"),
        (FOREIGN.replace('name = "simcc"', 'name = "dark"'), "'dark'"),
    ],
)
def test_mistakes_are_named_with_the_file(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        load_spec_toml(stored(tmp_path, text))
    assert "spec.toml" in str(caught.value)
    assert words in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="No such file"):
        load_spec_toml(tmp_path / "none.toml")
