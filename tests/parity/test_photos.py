from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgepose.errors import BoxError, DatasetError, ImageError, InputError
from edgepose.parity import folder_photos, sample_photos
from edgepose.spec import COCO_KEYPOINTS


def put_picture(path: Path, size: tuple[int, int] = (40, 30)) -> None:
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), np.full((*size, 3), 127, np.uint8))


def test_the_packaged_photos_hold_people() -> None:
    photos = sample_photos()
    assert sum(len(p.boxes) for p in photos) >= 8
    assert all(len(p.boxes) for p in photos)


def test_pictures_are_taken_whole(tmp_path: Path) -> None:
    put_picture(tmp_path / "b.png")
    put_picture(tmp_path / "a.jpg")
    (tmp_path / "notes.txt").write_text("no picture")
    photos = folder_photos(tmp_path)
    assert [p.name for p in photos] == ["a.jpg", "b.png"]
    assert photos[0].boxes.tolist() == [[0, 0, 30, 40]]


def test_boxes_from_a_file_and_nobody_elsewhere(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        put_picture(tmp_path / name)
    boxes = {"a.png": [[1, 2, 11, 12], [3, 4, 13, 24]], "b.png": []}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    (photo,) = folder_photos(tmp_path)
    assert photo.boxes.tolist() == boxes["a.png"]


def test_people_from_coco_annotations(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        put_picture(tmp_path / "images" / name)
    joints = [5.0, 6.0, 2] * len(COCO_KEYPOINTS)
    person = {"category_id": 1, "bbox": [1, 2, 10, 20], "area": 90, "keypoints": joints}
    data = {
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO_KEYPOINTS.names)}],
        "images": [
            {"id": 7, "file_name": "a.png", "width": 30, "height": 40},
            {"id": 9, "file_name": "b.png", "width": 30, "height": 40},
        ],
        "annotations": [
            {"id": 1, "image_id": 9, **person},
            {"id": 2, "image_id": 9, **person, "iscrowd": 1},
        ],
    }
    (tmp_path / "person_keypoints.json").write_text(json.dumps(data))
    (photo,) = folder_photos(tmp_path)
    assert (photo.name, photo.boxes.tolist()) == ("b.png", [[1, 2, 11, 22]])


def test_it_stops_when_there_are_enough(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        put_picture(tmp_path / name)
    two = [[0, 0, 10, 10], [5, 5, 15, 15]]
    (tmp_path / "boxes.json").write_text(json.dumps({n: two for n in ("a.png", "b.png", "c.png")}))
    assert [len(p.boxes) for p in folder_photos(tmp_path, people=3)] == [2, 1]


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder"):
        folder_photos(tmp_path / "absent")


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no picture[\s\S]*\.jpg"):
        folder_photos(tmp_path)


def test_boxes_for_other_pictures(tmp_path: Path) -> None:
    put_picture(tmp_path / "a.png")
    (tmp_path / "boxes.json").write_text('{"z.png": [[0, 0, 9, 9]]}')
    with pytest.raises(InputError, match=r"none of the pictures[\s\S]*z\.png[\s\S]*a\.png"):
        folder_photos(tmp_path)


@pytest.mark.parametrize("text", ["[[0, 0, 9, 9]]", "{broken", '{"a.png": 3}'])
def test_damaged_boxes(tmp_path: Path, text: str) -> None:
    put_picture(tmp_path / "a.png")
    (tmp_path / "boxes.json").write_text(text)
    with pytest.raises(InputError, match=r"boxes"):
        folder_photos(tmp_path)


def test_a_box_outside_names_the_picture(tmp_path: Path) -> None:
    put_picture(tmp_path / "a.png")
    (tmp_path / "boxes.json").write_text('{"a.png": [[100, 100, 120, 120]]}')
    with pytest.raises(BoxError, match=r"a\.png[\s\S]*outside"):
        folder_photos(tmp_path)


def test_a_damaged_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(ImageError, match="empty"):
        folder_photos(tmp_path)


def test_damaged_annotations(tmp_path: Path) -> None:
    (tmp_path / "person_keypoints.json").write_text("{}")
    with pytest.raises(DatasetError):
        folder_photos(tmp_path)
