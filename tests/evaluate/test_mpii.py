from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepose.errors import DatasetError
from edgepose.evaluate import MPII_JOINTS, MpiiPoses
from tests.evaluate.folders import mpii_person, write_mpii


def three() -> list[dict[str, Any]]:
    return [
        mpii_person("b.jpg", (101, 81), 0.5),
        mpii_person("a.jpg", (51, 61), 0.4),
        mpii_person("b.jpg", (200, 90), 0.6),
    ]


def test_positions_count_from_one_and_people_go_by_photo(tmp_path: Path) -> None:
    poses = MpiiPoses.load(write_mpii(tmp_path / "m", three()))
    assert poses.name == "MPII valid"
    assert [p.path.name for p in poses.pictures] == ["a.jpg", "b.jpg"]
    assert poses.image_ids.tolist() == [0, 1, 1]
    assert poses.numbers.tolist() == [0, 0, 1]
    assert poses.centres.tolist() == [[50, 60], [100, 80], [199, 89]]
    assert poses.joints[1, 0].tolist() == [100 + 30, 80]
    assert poses.heights.tolist() == [80, 100, 120]
    assert poses.visible.sum(1).tolist() == [15, 15, 15]
    assert poses.head_sizes.tolist() == [30, 30, 30]  # 60 % of 50 px
    assert len(MPII_JOINTS) == 16
    part = poses.first(1)
    assert (len(part), part.limited, len(part.pictures)) == (1, 1, 1)
    assert poses.first(2) is poses


@pytest.mark.parametrize(("size", "width"), [((256, 256), 100), ((256, 192), 75), ((64, 128), 100)])
def test_boxes_are_the_published_ones(tmp_path: Path, size: tuple[int, int], width: float) -> None:
    """The person's height, moved down by 15 pixels of the scale; of a portrait crop's shape."""
    poses = MpiiPoses.load(write_mpii(tmp_path / "m", three()))
    people = poses.people(size)
    x0, y0, x1, y1 = people.boxes[1].tolist()
    assert (x1 - x0, y1 - y0) == (width, 100)
    # The pixel (100, 80) has its centre half a pixel further on; 7.5 is 15 * 0.5.
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == (100.5, 80.5 + 7.5)
    assert people.source == "annotated centre and scale"
    assert poses.centres[1].tolist() == [100, 80]  # left as it was


def without_heads() -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "headbox"} for row in three()]


@pytest.mark.parametrize("form", ["npz", "npz as Matlab has it", "json", "json by name"])
def test_head_boxes_beside_the_annotations(tmp_path: Path, form: str) -> None:
    root = write_mpii(tmp_path / "m", without_heads())
    boxes = np.array([[0, 0, 30, 40], [0, 0, 60, 80], [0, 0, 3, 4]], float)
    place = root / "annot" / "headboxes_valid"
    if form == "npz":
        np.savez(place.with_suffix(".npz"), headboxes=boxes)
    elif form == "npz as Matlab has it":
        np.savez(place.with_suffix(".npz"), headboxes_src=boxes.reshape(3, 2, 2).transpose(1, 2, 0))
    else:
        data = boxes.tolist()
        text = json.dumps(data if form == "json" else {"headboxes": data})
        place.with_suffix(".json").write_text(text)
    # By photo: the second row is of a.jpg.
    assert MpiiPoses.load(root).head_sizes.tolist() == [60, 30, 3]


def test_other_ways_to_give_a_head(tmp_path: Path) -> None:
    rows = without_heads()
    rows[0]["head_size"] = 21.5
    rows[1]["headboxes"] = [[0, 0], [30, 40]]
    rows[2]["headbox"] = [0, 0, 60, 80]
    assert MpiiPoses.load(write_mpii(tmp_path / "m", rows)).head_sizes.tolist() == [30, 21.5, 60]


def test_without_heads_it_says_how_to_get_them(tmp_path: Path) -> None:
    rows = without_heads()
    rows[0]["head_size"] = 20
    root = write_mpii(tmp_path / "m", rows)
    with pytest.raises(DatasetError, match=r"(?s)headboxes_valid\.npz.*scipy\.io.*gt_valid\.mat"):
        MpiiPoses.load(root)
    (root / "annot" / "headboxes_valid.json").write_text("[[0, 0, 3, 4]]")
    with pytest.raises(DatasetError, match="does not hold the head boxes of 3 persons"):
        MpiiPoses.load(root)
    (root / "annot" / "headboxes_valid.json").write_text(json.dumps([[1, 1, 1, 1]] * 3))
    with pytest.raises(DatasetError, match=r"the head of person 0 .* has no size"):
        MpiiPoses.load(root)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"joints": [[1, 2]] * 17}, r"person 1: .*shape \(16, 2\), got shape \(17, 2\)"),
        ({"joints": [[None, 2]] * 16}, "person 1"),
        ({"joints": [[float("nan"), 2]] * 16}, "person 1"),
        ({"scale": "big"}, "person 1: ValueError"),
        ({"scale": -1}, "does not say where person 1 is"),
        ({"center": [-1, -1]}, "does not say where person 1 is"),
        ({"joints_vis": [1] * 15}, "person 1"),
    ],
)
def test_rows_that_do_not_fit(tmp_path: Path, changes: dict[str, Any], match: str) -> None:
    rows = three()
    rows[1] |= changes
    with pytest.raises(DatasetError, match=match):
        MpiiPoses.load(write_mpii(tmp_path / "m", rows))


def test_folders_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="there is no folder"):
        MpiiPoses.load(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match=r"no MPII annotations.*valid\.json"):
        MpiiPoses.load(tmp_path)
    root = write_mpii(tmp_path / "m", three(), "annotations/mpii_val.json")
    assert MpiiPoses.load(root).name == "MPII val"
    (root / "images" / "a.jpg").unlink()
    with pytest.raises(DatasetError, match=r"1 of 2 photos .* are absent"):
        MpiiPoses.load(root)
    (root / "images" / "b.jpg").unlink()
    with pytest.raises(DatasetError, match="cannot find the photos"):
        MpiiPoses.load(root)
    file = root / "annotations" / "mpii_val.json"
    for text, match in (("{}", "no list of persons"), ("[1]", "person 0"), ("[{", "not JSON")):
        file.write_text(text)
        with pytest.raises(DatasetError, match=match):
            MpiiPoses.load(root)
