from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgepose.crops import box_affines, warp_crops
from edgepose.errors import BoxError, DatasetError, ImageError, InputError
from edgepose.export.precision.calibration import MIN_CROPS, load_calibration
from edgepose.images import read_image
from edgepose.poses import UInt8
from tests.evaluate.folders import person, write_folder
from tests.export.tiny import heatmap_spec

SPEC = heatmap_spec()
HOLDOUT = "000000000785.jpg"


def pictures(folder: Path, count: int, people: int | None = None) -> Path:
    """Pictures of 60x80, each of one grey; with boxes for ``people`` in each, or whole."""
    folder.mkdir()
    for n in range(count):
        cv2.imwrite(str(folder / f"p{n:03}.png"), np.full((80, 60, 3), n + 1, np.uint8))
    if people is not None:
        boxes = {
            f"p{n:03}.png": [[2 + 3 * i, 4, 30 + 3 * i, 70] for i in range(people)]
            for n in range(count)
        }
        (folder / "boxes.json").write_text(json.dumps(boxes))
    return folder


def coco(root: Path, photos: int = 20, each: int = 2, name: str = "im{:06}.jpg", **more) -> Path:
    annotations = [
        person(1 + n * each + i, n + 1, (10 + 40 * i, 10, 50, 100))
        for n in range(photos)
        for i in range(each)
    ]
    return write_folder(root, annotations, {n + 1: name.format(n) for n in range(photos)}, **more)


def test_pictures_are_one_person_each(tmp_path: Path) -> None:
    people = load_calibration(pictures(tmp_path / "set", 40), SPEC)
    assert people.crops.shape == (40, 64, 48, 3)
    assert people.truths is None
    assert people.boxes.tolist() == [[0, 0, 60, 80]] * 40
    # Every picture once: the middle of each crop has its grey.
    assert sorted(people.crops[:, 32, 24, 0].tolist()) == list(range(1, 41))


def test_crops_are_cut_as_at_run_time(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "set", 20, people=2)
    people = load_calibration(folder, SPEC)
    assert people.manifest["layout"] == "boxes.json"
    for crop, affine, box, picture in zip(
        people.crops, people.affines, people.boxes, people.pictures, strict=True
    ):
        ours = box_affines(box[None], SPEC.input_size, SPEC.padding)
        assert np.array_equal(ours[0], affine)
        assert np.array_equal(warp_crops(read_image(picture.path), ours, SPEC.input_size)[0], crop)


@pytest.mark.parametrize("flat", [False, True])
def test_annotated_people_come_with_their_truths(tmp_path: Path, flat: bool) -> None:
    people = load_calibration(coco(tmp_path / "set", flat=flat), SPEC)
    assert people.truths is not None
    assert len(people) == len(people.truths) == 40
    assert np.allclose(people.truths.boxes, people.boxes)
    # The person's number is the grey of the box.
    numbers = people.crops[:, 32, 24, 0].astype(int)
    assert np.abs(np.sort(numbers) - np.arange(1, 41)).max() <= 3  # JPEG
    images = [int(p.path.stem[2:]) + 1 for p in people.pictures]
    assert people.truths.image_ids.tolist() == images


def test_the_sample_is_spread_and_drawn_by_the_seed(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "set", 40, people=3)

    def drawn(**more: int) -> list[str]:
        return [p.path.name for p in load_calibration(folder, SPEC, **more).pictures]

    few = drawn(limit=40)
    assert sorted(few) == sorted({*few})  # one of each picture
    assert drawn(limit=40) == few
    assert sorted(drawn(limit=40, seed=1)) == sorted(few)
    assert drawn(limit=40, seed=1) != few
    more = drawn(limit=60)
    assert (len(more), len({*more}), max(map(more.count, more))) == (60, 40, 2)
    # Two of a picture stand together.
    assert all(
        more[i] in (more[i - 1], more[i + 1]) for i in range(1, 59) if more.count(more[i]) > 1
    )


def test_the_manifest_tells_the_sample_and_its_content(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "people", 40)
    manifest = load_calibration(folder, SPEC, limit=32, seed=3).manifest
    assert json.loads(json.dumps(manifest)) == manifest
    assert {k: manifest[k] for k in ("source", "people", "of", "limit", "seed")} == {
        "source": "people",
        "people": 32,
        "of": 40,
        "limit": 32,
        "seed": 3,
    }
    assert len(manifest["pictures"]) == 32
    assert str(tmp_path) not in json.dumps(manifest)
    assert load_calibration(folder, SPEC, limit=32, seed=3).manifest == manifest
    changed = folder / manifest["pictures"][0]
    cv2.imwrite(str(changed), np.full((80, 60, 3), 200, np.uint8))
    again = load_calibration(folder, SPEC, limit=32, seed=3).manifest
    assert again["sha256"] != manifest["sha256"]
    assert again["pictures"] == manifest["pictures"]


def test_photos_are_read_when_asked_for(tmp_path: Path) -> None:
    people = load_calibration(pictures(tmp_path / "set", 20, people=2), SPEC)
    assert len(people.photos) == 20
    photo = people.photos[3]
    assert photo.boxes.shape == (2, 4)
    assert photo.name == people.pictures[6].path.name
    assert [p.name for p in people.photos[1:3]] == [p.name for p in list(people.photos)[1:3]]
    (people.pictures[6].path).unlink()
    with pytest.raises(ImageError):
        _ = people.photos[3]


def test_batches_go_through_the_crops_any_number_of_times(tmp_path: Path) -> None:
    batches = load_calibration(pictures(tmp_path / "set", 35), SPEC).batches(SPEC, 16)
    for _ in range(2):
        found = list(batches)
        assert [b.shape for b in found] == [(16, 3, 64, 48), (16, 3, 64, 48), (3, 3, 64, 48)]
        assert found[0].dtype == np.float32


def test_halves_share_no_photo(tmp_path: Path) -> None:
    """Not even crops of one photo in two files: ``source`` tells."""
    folder = coco(tmp_path / "set", photos=40, each=1, flat=True)
    file = folder / "person_keypoints.json"
    data = json.loads(file.read_text())
    for entry in data["images"]:
        entry["source"] = f"photo{entry['id'] // 3}.jpg"
    file.write_text(json.dumps(data))
    people = load_calibration(folder, SPEC)
    first, second = people.halves()
    assert not {p.source for p in first.pictures} & {p.source for p in second.pictures}
    assert len(first) + len(second) == 40
    assert 15 <= len(first) <= 20
    for half in (first, second):
        assert half.truths is not None
        assert len(half.truths) == len(half.crops) == len(half.pictures) == len(half.affines)
        assert np.allclose(half.truths.boxes, half.boxes)
    assert len(second.first(5)) == 5


def test_people_of_one_photo_have_no_halves(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "set", 1, people=MIN_CROPS - 20)
    boxes = {"p000.png": [[1 + i, 4, 20 + i, 70] for i in range(MIN_CROPS)]}
    (folder / "boxes.json").write_text(json.dumps(boxes))
    with pytest.raises(DatasetError, match="all from one photo"):
        load_calibration(folder, SPEC).halves()


def test_too_few_people_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="too few people") as refusal:
        load_calibration(pictures(tmp_path / "few", MIN_CROPS - 1), SPEC)
    assert "holds 31 people" in str(refusal.value.why)
    assert "200 to 500 people" in str(refusal.value.hint)
    assert len(load_calibration(pictures(tmp_path / "enough", MIN_CROPS), SPEC)) == MIN_CROPS
    with pytest.raises(DatasetError, match="too few people"):
        load_calibration(tmp_path / "enough", SPEC, limit=MIN_CROPS - 1)


def test_folders_without_people(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder") as refusal:
        load_calibration(tmp_path / "absent", SPEC)
    assert "--calib" in str(refusal.value.hint)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no picture"):
        load_calibration(tmp_path / "empty", SPEC)
    folder = pictures(tmp_path / "nobody", 40)
    (folder / "boxes.json").write_text("{}")
    with pytest.raises(InputError, match="boxes for none"):
        load_calibration(folder, SPEC)
    crowd = [person(n, n, (10, 10, 50, 100), iscrowd=1) for n in range(1, 41)]
    root = write_folder(tmp_path / "crowd", crowd, {n: f"im{n}.jpg" for n in range(1, 41)})
    with pytest.raises(DatasetError, match="annotates nobody"):
        load_calibration(root, SPEC)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "set", 40)
    folder.chmod(0o000)
    try:
        with pytest.raises(InputError, match="cannot read"):
            load_calibration(folder, SPEC)
    finally:
        folder.chmod(0o755)


def test_an_error_of_the_system_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = pictures(tmp_path / "set", 40)

    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DatasetError, match="cannot read") as refusal:
        load_calibration(folder, SPEC)
    assert refusal.value.why == "Permission denied"


def test_damaged_pictures_and_boxes(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "set", 40)
    (folder / "p007.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match="p007"):
        load_calibration(folder, SPEC)
    outside = pictures(tmp_path / "boxes", 40, people=1)
    boxes = json.loads((outside / "boxes.json").read_text())
    boxes["p003.png"] = [[100, 100, 120, 140]]
    (outside / "boxes.json").write_text(json.dumps(boxes))
    with pytest.raises(BoxError, match="p003"):
        load_calibration(outside, SPEC)


def test_a_picture_of_another_size_than_annotated(tmp_path: Path) -> None:
    folder = coco(tmp_path / "set")
    picture = folder / "val2017" / "im000003.jpg"
    small: UInt8 = np.zeros((10, 10, 3), np.uint8)
    cv2.imwrite(str(picture), small)
    with pytest.raises(DatasetError, match="not the picture that was annotated"):
        load_calibration(folder, SPEC)


def test_photos_of_the_holdout_are_refused(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "set", 40)
    (folder / "p000.png").rename(folder / HOLDOUT)
    with pytest.raises(DatasetError, match="hold-out") as refusal:
        load_calibration(folder, SPEC)
    assert HOLDOUT in str(refusal.value.why)


def test_so_are_crops_that_were_cut_from_them(tmp_path: Path) -> None:
    folder = coco(tmp_path / "set", flat=True)
    file = folder / "person_keypoints.json"
    data = json.loads(file.read_text())
    data["images"][4]["source"] = HOLDOUT
    file.write_text(json.dumps(data))
    with pytest.raises(DatasetError, match="hold-out"):
        load_calibration(folder, SPEC)
    # A set's own running number is no photo of COCO's.
    data["images"][4]["source"] = "785.jpg"
    file.write_text(json.dumps(data))
    assert len(load_calibration(folder, SPEC)) == 40


def test_the_training_crops(shared: Path) -> None:
    people = load_calibration(shared / "data/train/lspet", SPEC, limit=40)
    assert len(people) == 40
    assert people.truths is not None
    with pytest.raises(DatasetError, match="hold-out"):
        load_calibration(shared / "data/coco", SPEC)
