from __future__ import annotations

import json
from dataclasses import replace

import pytest

from edgepose.errors import SpecError
from edgepose.spec import COCO_KEYPOINTS, DecoderSpec, Measurement, PoseSpec
from tests.fakes import heatmap_spec


def test_round_trip_keeps_everything() -> None:
    spec = heatmap_spec(decoder=DecoderSpec(name="quarter", alignment="corner")).with_provenance(
        trained_on="12 persons",
        weights_sha256="ab",
        holdout_only=True,
        measured=(Measurement(ap=12.5, ar=20.0, protocol="hold-out, GT boxes"),),
    )
    assert PoseSpec.from_json(spec.to_json()) == spec


def test_every_field_of_the_json_is_checked() -> None:
    data = heatmap_spec().to_dict()
    for broken, words in (
        ({**data, "colour": "hsv"}, "colour"),
        ({**data, "colours": "rgb"}, "unknown fields"),
        ({k: v for k, v in data.items() if k != "decoder"}, "lacks"),
        ({**data, "schema": 99}, "schema 99"),
        ({**data, "input_size": [64]}, "input_size"),
        ({**data, "std": [1, 0, 1]}, "std"),
        ({**data, "decoder": {"name": "simcc"}}, "decoder of a heatmap model"),
        ({**data, "decoder": {"name": "dark", "blur_kernel": 4}}, "odd"),
        ({**data, "keypoints": {**data["keypoints"], "sigmas": [0.1]}}, "sigmas"),
        ({**data, "keypoints": {**data["keypoints"], "flip_pairs": [[0, 17]]}}, "indices"),
        ([], "not an object"),
    ):
        with pytest.raises(SpecError, match=words):
            PoseSpec.from_json(json.dumps(broken))


def test_text_that_is_no_json() -> None:
    with pytest.raises(SpecError, match="not JSON"):
        PoseSpec.from_json(b"\xff{")


def test_coco_keypoints_mirror_left_and_right() -> None:
    names = COCO_KEYPOINTS.names
    swapped = [names[i] for i in COCO_KEYPOINTS.flip_order]
    assert swapped == [
        n.replace("left", "?").replace("right", "left").replace("?", "right") for n in names
    ]


def test_spec_is_frozen_and_hashable() -> None:
    spec = heatmap_spec()
    assert hash(spec) == hash(replace(spec))


@pytest.mark.parametrize("value", [None, "x", 5, [1], {}, [[1, 2, 3]]])
def test_a_value_of_another_type_is_a_spec_error_or_harmless(value: object) -> None:
    """Whatever stands in a field, reading gives a spec or a SpecError, never another exception."""
    data = heatmap_spec().to_dict()
    outer = [({**data, name: value}) for name in data]
    inner = [
        {**data, part: {**data[part], name: value}}
        for part in ("decoder", "keypoints", "provenance")
        for name in data[part]
    ]
    refused = 0
    for broken in outer + inner:
        try:
            PoseSpec.from_json(json.dumps(broken))
        except SpecError:
            refused += 1
    assert refused > len(outer)
