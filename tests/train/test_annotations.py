from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgepose.errors import DatasetError
from edgepose.images import write_image
from edgepose.spec import COCO_KEYPOINTS
from edgepose.train.annotations import (
    Record,
    guard_holdout,
    guard_packaged_holdout,
    has_coco_names,
    load_holdout,
    packaged_holdout_photos,
    read_set,
    split_fold,
)
from tests.train.helpers import KEYPOINTS, coco_person, make_set, write_annotations


def one_picture(folder: Path, annotations: list, **entry) -> Path:
    images = [{"id": 1, "file_name": "000001.png", **entry}]
    write_image(folder / "images" / images[0]["file_name"], np.zeros((80, 60, 3), np.uint8))
    return write_annotations(
        folder / "person_keypoints.json", images, annotations, COCO_KEYPOINTS.names
    )


def test_reads_both_layouts(tmp_path):
    coco = read_set(make_set(tmp_path / "coco", 4), KEYPOINTS)
    assert (coco.name, len(coco.records), coco.skipped) == ("val2017", 4, 0)
    assert coco.records[0].box.tolist() == [20, 20, 80, 100]
    one_picture(tmp_path / "flat", [coco_person()])
    flat = read_set(tmp_path / "flat", COCO_KEYPOINTS)
    assert (flat.name, len(flat.records)) == ("flat", 1)
    direct = read_set(tmp_path / "flat" / "person_keypoints.json", COCO_KEYPOINTS)
    assert direct.digest == flat.digest


def test_every_person_of_a_photo_is_a_record(tmp_path):
    found = read_set(make_set(tmp_path, 3, persons=2), KEYPOINTS)
    assert len(found.records) == 6
    assert len({r.image for r in found.records}) == 3


def test_joints_are_matched_by_name_and_missing_ones_are_unlabelled(tmp_path):
    write_image(tmp_path / "images" / "a.png", np.zeros((80, 60, 3), np.uint8))
    write_annotations(
        tmp_path / "person_keypoints.json",
        [{"id": 1, "file_name": "a.png"}],
        [coco_person([1, 2, 2, 3, 4, 1, 5, 6, 2])],
        ("right_wrist", "tail", "nose"),
    )
    joints = read_set(tmp_path, KEYPOINTS).records[0].joints
    assert joints.tolist() == [[5, 6, 2], [0, 0, 0], [1, 2, 2]]


def test_crowds_empty_people_and_flat_boxes_are_left_out(tmp_path):
    one_picture(
        tmp_path,
        [
            coco_person(),
            coco_person(id=2, iscrowd=1),
            coco_person([0.0] * 51, id=3),
            coco_person(id=4, bbox=[5, 5, 0.2, 50]),
            {"id": 5, "image_id": 1, "category_id": 18, "bbox": [0, 0, 5, 5]},
        ],
    )
    found = read_set(tmp_path, COCO_KEYPOINTS)
    assert (len(found.records), found.skipped) == (1, 4)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("{not json", "not a COCO keypoint file"),
        ('{"images": []}', "not a COCO keypoint file"),
        ('{"images": [], "annotations": []}', "cannot find the images"),
    ],
)
def test_a_broken_annotation_file_is_named(tmp_path, content, what):
    (tmp_path / "person_keypoints.json").write_text(content)
    with pytest.raises(DatasetError, match=what):
        read_set(tmp_path, COCO_KEYPOINTS)


def test_wrong_number_of_joints(tmp_path):
    one_picture(tmp_path, [coco_person([1.0, 2.0, 2.0] * 3)])
    with pytest.raises(DatasetError, match="3 joints, its category 17"):
        read_set(tmp_path, COCO_KEYPOINTS)


def test_absent_images_are_listed(tmp_path):
    folder = make_set(tmp_path, 6)
    for i in (1, 3, 4, 5):
        (folder / "val2017" / f"{1000 + i:012d}.png").unlink()
    with pytest.raises(DatasetError, match="4 of 6 images") as caught:
        read_set(folder, KEYPOINTS)
    assert "000000001001.png" in str(caught.value)


def test_several_annotation_files_need_a_choice(tmp_path):
    folder = make_set(tmp_path, 2)
    file = folder / "annotations" / "person_keypoints_val2017.json"
    (folder / "annotations" / "person_keypoints_train2017.json").write_text(file.read_text())
    with pytest.raises(DatasetError, match="several annotation files"):
        read_set(folder, KEYPOINTS)
    assert len(read_set(file, KEYPOINTS).records) == 2


def test_no_such_folder(tmp_path):
    with pytest.raises(DatasetError, match="no data set at"):
        read_set(tmp_path / "nowhere", KEYPOINTS)


@pytest.mark.parametrize(
    ("entry", "listed", "refused"),
    [
        ({"source": "000000000785.jpg"}, [785], True),
        ({"source": "COCO_val2014_000000000785.jpg"}, [785], True),
        ({"source": "000000000785.jpg"}, ["000000000785.jpg"], True),
        ({"source": "im00785.jpg"}, ["im00785.jpg"], True),
        ({"source": "im00785.jpg"}, [785], False),
        ({"source": "000000007850.jpg"}, [785], False),
        # A cut-out's own running number is no photo id ...
        ({"source": "000000000139.jpg"}, [1], False),
        # ... but without a source the file name is all there is.
        ({}, [1], True),
    ],
)
def test_holdout_guard(tmp_path, entry, listed, refused):
    one_picture(tmp_path, [coco_person()], **entry)
    people = read_set(tmp_path, COCO_KEYPOINTS)
    file = tmp_path / "holdout.json"
    file.write_text(json.dumps(listed))
    if refused:
        with pytest.raises(DatasetError, match="holds photos of the hold-out"):
            guard_holdout([people], load_holdout(file))
    else:
        guard_holdout([people], load_holdout(file))


@pytest.mark.parametrize(
    ("photo", "coco", "refused"),
    [
        ("000000000785.jpg", True, True),
        ("COCO_val2014_000000000785.jpg", True, True),
        ("000000000139.jpg", True, False),  # COCO's, but not of the hold-out
        ("000785.jpg", False, False),  # a set's own running number
        ("im00785.jpg", False, False),
    ],
)
@pytest.mark.parametrize("field", ["file_name", "source"])
def test_the_packaged_holdout_goes_by_coco_names(tmp_path, photo, coco, refused, field):
    one_picture(tmp_path, [coco_person()], **{field: photo})
    people = read_set(tmp_path, COCO_KEYPOINTS)
    assert has_coco_names(people) is coco
    if refused:
        with pytest.raises(DatasetError, match="holds photos of the hold-out") as caught:
            guard_packaged_holdout([people])
        assert "--allow-holdout" in str(caught.value)
    else:
        guard_packaged_holdout([people])
    assert packaged_holdout_photos(people.records) == ({photo} if refused else set())


def test_holdout_must_be_a_list(tmp_path):
    file = tmp_path / "holdout.json"
    file.write_text('{"ids": [1]}')
    with pytest.raises(DatasetError, match="not a JSON list"):
        load_holdout(file)
    with pytest.raises(DatasetError, match="cannot read"):
        load_holdout(tmp_path / "none.json")


def test_the_shared_training_sets_hold_nobody_of_the_holdout(shared):
    folder = shared / "data" / "train"
    sets = [read_set(f, COCO_KEYPOINTS) for f in sorted(folder.iterdir()) if f.is_dir()]
    assert sum(len(s.records) for s in sets) == 13_369
    holdout = load_holdout(shared / "data" / "coco" / "holdout_image_ids.json")
    guard_holdout(sets, holdout)
    guard_packaged_holdout(sets)
    assert {s.name: has_coco_names(s) for s in sets} == {
        "coco_train2017": True, "coco_val2017_rest": True, "lspet": False
    }  # fmt: skip
    # The guard is awake: the hold-out's own photos are refused.
    measured = read_set(shared / "data" / "coco", COCO_KEYPOINTS)
    with pytest.raises(DatasetError, match="300 of them"):
        guard_holdout([measured], holdout)
    with pytest.raises(DatasetError, match="300 of them"):
        guard_packaged_holdout([measured])


def people(sources: list[str]) -> tuple[Record, ...]:
    return tuple(
        Record(Path("x.png"), s, np.zeros(4, np.float32), np.zeros((3, 3), np.float32), 1.0)
        for s in sources
    )


def test_fold_is_split_by_photo_and_stays_when_data_is_added():
    sources = [f"{i // 3:012d}.jpg" for i in range(3000)]
    train, held = split_fold(people(sources), 0.1, seed=3)
    assert sorted(train + held) == list(range(3000))
    assert not {sources[i] for i in train} & {sources[i] for i in held}
    assert 200 < len(held) < 400
    _, more = split_fold(people(["new.jpg", *sources]), 0.1, seed=3)
    assert {sources[i - 1] for i in more if i} == {sources[i] for i in held}
    assert split_fold(people(sources), 0.1, seed=4)[1] != held
    assert split_fold(people(sources), 0, seed=3) == (list(range(3000)), [])
