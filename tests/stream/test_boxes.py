from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgepose.samples
from edgepose.errors import BoxError
from edgepose.stream.boxes import BoxFile, load_boxes
from tests.stream.helpers import frame


def stored(tmp_path: Path, data: Any) -> BoxFile:
    path = tmp_path / "boxes.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return load_boxes(path)


def lists(file: BoxFile, number: int = 0, source: str = "shots/a.jpg") -> tuple[list, list]:
    pictures = source.endswith(".jpg")
    boxes, scores = file.boxes_in(frame(number, source=source), independent=pictures)
    assert boxes.shape == (len(scores), 4)
    assert boxes.dtype == scores.dtype == np.float32
    return boxes.tolist(), scores.tolist()


A, B = [10, 20, 50, 90], [60, 20, 100, 90]


@pytest.mark.parametrize("key", ["a.jpg", "shots/a.jpg"])
def test_by_file_name_or_path(key: str, tmp_path: Path) -> None:
    file = stored(tmp_path, {key: [A, B], "b.jpg": []})
    assert lists(file) == ([A, B], [1, 1])
    assert lists(file, source="shots/b.jpg") == ([], [])
    assert lists(file, source="shots/c.jpg") == ([], [])


def test_by_frame_index(tmp_path: Path) -> None:
    file = stored(tmp_path, {"0": [A], "12": [B]})
    assert lists(file, 0, "v.mp4") == ([A], [1])
    assert lists(file, 12, "v.mp4") == ([B], [1])
    assert lists(file, 1, "v.mp4") == ([], [])


def test_the_same_for_every_frame(tmp_path: Path) -> None:
    file = stored(tmp_path, [A, B])
    assert lists(file, 99, "camera 0") == ([A, B], [1, 1])


def test_coco_annotations(tmp_path: Path) -> None:
    file = stored(
        tmp_path,
        {
            "images": [{"id": 4, "file_name": "a.jpg"}, {"id": 5, "file_name": "b.jpg"}],
            "annotations": [
                {"image_id": 4, "bbox": [10, 20, 40, 70], "category_id": 1, "iscrowd": 0},
                {"image_id": 4, "bbox": [0, 0, 9, 9], "category_id": 1, "iscrowd": 1},
                {"image_id": 4, "bbox": [0, 0, 9, 9], "category_id": 18},
                {"image_id": 5, "bbox": [60, 20, 40, 70]},
            ],
        },
    )
    assert lists(file) == ([A], [1])
    assert lists(file, source="b.jpg") == ([B], [1])


def test_coco_detections_by_picture_number_or_frame(tmp_path: Path) -> None:
    file = stored(
        tmp_path,
        [
            {"image_id": 785, "bbox": [10, 20, 40, 70], "score": 0.5, "category_id": 1},
            {"image_id": 785, "bbox": [60, 20, 40, 70], "score": 0.25},
            {"image_id": 785, "bbox": [0, 0, 5, 5], "score": 0.9, "category_id": 3},
        ],
    )
    assert lists(file, source="val/000000000785.jpg") == ([A, B], [0.5, 0.25])
    assert lists(file, 785, "v.mp4") == ([A, B], [0.5, 0.25])
    assert lists(file, 0, "v.mp4") == ([], [])


@pytest.mark.parametrize("source", ["1.mp4", "in/001.mp4", "rtsp://cam/1", "rtsp://cam/001", "1"])
def test_a_number_in_the_name_of_a_video_means_nothing(source: str, tmp_path: Path) -> None:
    file = stored(tmp_path, {"1": [A], "2": [B]})
    found = [lists(file, number, source)[0] for number in range(4)]
    assert found == [[], [A], [B], []]


def test_a_picture_without_detections_does_not_get_those_of_another(tmp_path: Path) -> None:
    file = stored(tmp_path, [{"image_id": 2, "bbox": [10, 20, 40, 70]}])
    names = ("000000000139.jpg", "img5.jpg", "2nd.jpg", "000000000002.jpg")
    found = [lists(file, 2, f"val/{name}")[0] for name in names]
    assert found == [[], [], [], [A]]
    assert lists(file, 2, "val/third.jpg") == ([A], [1])  # no number: by its index


def test_the_number_at_the_end_of_a_picture_name(tmp_path: Path) -> None:
    file = stored(tmp_path, [{"image_id": 785, "bbox": [10, 20, 40, 70]}])
    assert lists(file, source="COCO_val2014_000000000785.jpg") == ([A], [1])


def test_pictures_that_share_a_number_are_refused(tmp_path: Path) -> None:
    pictures = [Path("a/cam1_7.jpg"), Path("a/cam2_007.jpg")]
    with pytest.raises(BoxError, match=r"boxes of 7.*\n?.*cam1_7\.jpg and a/cam2_007\.jpg"):
        stored(tmp_path, {"7": [A]}).check_covers(pictures)
    stored(tmp_path, {"7": [A], "cam1_7.jpg": [B]}).check_covers(pictures)
    stored(tmp_path, {"cam1_7.jpg": [B]}).check_covers(pictures)


def test_the_packaged_samples_have_this_form() -> None:
    folder = Path(edgepose.samples.__file__).parent
    pictures = sorted(folder.glob("*.jpg"))
    file = load_boxes(folder / "boxes.json")
    file.check_covers(pictures)
    for picture in pictures:
        assert len(file.boxes_in(frame(0, (640, 640), str(picture)), independent=True)[0]) > 0


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("{", "not JSON"),
        ("3", "holds a int"),
        ({"a.jpg": [[1, 2, 3]]}, "'a.jpg'"),
        ({"a.jpg": "here"}, "'a.jpg'"),
        ({"a.jpg": [[10, 20, 10, 90]]}, "no area"),
        ('{"a.jpg": [[NaN, 20, 30, 90]]}', "not finite"),
        ([[10, 20, 5, 90]], "every frame"),
        ([{"bbox": [1, 2, 3, 4]}], "KeyError: 'image_id'"),
        ([{"image_id": 1, "bbox": [1, 2]}], "no list of COCO detections"),
        ([{"image_id": 1, "bbox": [1, 2, 3, -4]}], "no area"),
        ({"images": [], "annotations": [{"image_id": 3, "bbox": [1, 2, 3, 4]}]}, "KeyError"),
        ({"images": 3, "annotations": []}, "no COCO annotation file"),
    ],
)
def test_files_that_cannot_be_used(data: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(BoxError) as caught:
        stored(tmp_path, data)
    assert "boxes.json" in str(caught.value)
    assert words in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BoxError, match="No such file"):
        load_boxes(tmp_path / "boxes.json")


def test_a_box_outside_the_frame_names_the_frame(tmp_path: Path) -> None:
    file = stored(tmp_path, {"3": [A, [500, 0, 600, 50]]})
    with pytest.raises(BoxError, match=r"v\.mp4, frame 3.*\n?.*box 1.*outside the 160x120 image"):
        file.boxes_in(frame(3, source="v.mp4"), independent=False)


def test_a_file_about_other_pictures_is_refused(tmp_path: Path) -> None:
    file = stored(tmp_path, {"x.jpg": [A]})
    with pytest.raises(BoxError, match=r"names x\.jpg; the source has a\.jpg, b\.jpg"):
        file.check_covers([Path("a.jpg"), Path("b.jpg")])
    file.check_covers([Path("a.jpg"), Path("x.jpg")])
    with pytest.raises(BoxError, match=r"known by their index"):
        file.check_indexed("v.mp4")
    with pytest.raises(BoxError, match=r"known by their index"):
        stored(tmp_path, {"cam.jpg": [A]}).check_indexed("rtsp://host/2")
    for good in ([A], {"7": [A]}, {"v.mp4": [A]}):
        stored(tmp_path, good).check_indexed("v.mp4")
    stored(tmp_path, [A]).check_covers([Path("a.jpg")])
    stored(tmp_path, {"0": [A]}).check_covers([Path("a.jpg")])
