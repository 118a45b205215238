from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgepose.errors import DatasetError
from edgepose.evaluate import CocoKeypoints
from tests.evaluate.folders import person, write_folder

TWO = {7: "000000000007.jpg", 3: "000000000003.jpg"}


def four_annotations() -> list[dict]:
    return [
        person(1, 7, (20, 10, 50, 100)),
        person(2, 3, (30, 20, 60, 90)),
        person(3, 3, (90, 20, 60, 90), keypoints=[0] * 51, num_keypoints=0),
        person(4, 7, (100, 20, 60, 90), iscrowd=1),
    ]


@pytest.mark.parametrize("flat", [False, True])
def test_both_layouts(tmp_path: Path, flat: bool) -> None:
    root = write_folder(tmp_path / "set", four_annotations(), TWO, flat=flat)
    dataset = CocoKeypoints.load(root)
    assert dataset.name == ("set" if flat else "val2017")
    assert [image.id for image in dataset.images] == [3, 7]
    assert (len(dataset.truth), dataset.persons) == (4, 2)
    assert dataset.truth.boxes[0].tolist() == [20, 10, 70, 110]
    assert dataset.truth.keypoints[0, 0].tolist() == pytest.approx([45, 18, 2])


def test_parts_of_a_set(tmp_path: Path) -> None:
    dataset = CocoKeypoints.load(write_folder(tmp_path / "set", four_annotations(), TWO))
    assert [i.id for i in dataset.first(1).images] == [3]
    assert [dataset.first(n).limited for n in (1, 2, 3)] == [1, None, None]
    assert dataset.where(lambda image: image.photo.startswith("000000000007")).persons == 1


def test_of_several_splits_the_one_with_photos_is_read(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", four_annotations(), TWO)
    file = root / "annotations" / "person_keypoints_train2017.json"
    file.write_text((root / "annotations" / "person_keypoints_val2017.json").read_text())
    assert CocoKeypoints.load(root).name == "val2017"
    (root / "train2017").mkdir()
    with pytest.raises(DatasetError, match="several annotation files"):
        CocoKeypoints.load(root)


def test_other_keypoints_are_refused(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", four_annotations(), TWO, names=("head", "foot"))
    with pytest.raises(DatasetError, match="other keypoints"):
        CocoKeypoints.load(root)


def test_absent_photos_are_listed(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", four_annotations(), TWO)
    (root / "val2017" / TWO[3]).unlink()
    with pytest.raises(DatasetError, match=r"1 of 2 photos .* are absent"):
        CocoKeypoints.load(root)
    (root / "val2017" / TWO[7]).unlink()
    with pytest.raises(DatasetError, match="cannot find the photos"):
        CocoKeypoints.load(root)


def test_damaged_files(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", four_annotations(), TWO)
    file = root / "annotations" / "person_keypoints_val2017.json"
    data = json.loads(file.read_text())

    def refused(match: str) -> None:
        with pytest.raises(DatasetError, match=match):
            CocoKeypoints.load(root)

    file.write_text(json.dumps(data)[:-40])
    refused("not a COCO keypoint file")
    file.write_text(json.dumps(data | {"categories": []}))
    refused("no category names its keypoints")
    file.write_text(json.dumps(data | {"images": data["images"][:1]}))
    refused("not in its list of images")
    short = [data["annotations"][0] | {"keypoints": [1, 2, 2]}]
    file.write_text(json.dumps(data | {"annotations": short}))
    refused("not a COCO keypoint file")
    file.write_text(json.dumps(data | {"annotations": data["annotations"][2:]}))
    refused("annotates nobody")
    file.unlink()
    refused("no annotation file")
    with pytest.raises(DatasetError, match="no folder"):
        CocoKeypoints.load(root / "nowhere")
