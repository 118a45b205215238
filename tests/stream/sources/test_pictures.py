from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgepose.errors import ImageError, SourceError
from edgepose.stream.sources import open_source
from tests.stream.helpers import jpeg, picture, write_picture


def test_a_photo_is_one_frame(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "one.png", 3)
    with open_source(str(path)) as source:
        frames = list(source)
    assert (source.length, source.live, source.independent) == (1, False, True)
    assert [(f.index, f.time_s, f.source) for f in frames] == [(0, 0.0, str(path))]
    np.testing.assert_array_equal(frames[0].image, picture(3))


def test_a_folder_is_read_in_natural_order_pictures_only(tmp_path: Path) -> None:
    for name in ("img10.png", "img2.png", "img1.JPG", ".hidden.png"):
        write_picture(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "folder.png").mkdir()
    with open_source(str(tmp_path)) as source:
        assert [Path(f.source).name for f in source] == ["img1.JPG", "img2.png", "img10.png"]
    assert source.length == 3


def test_a_glob_reaches_into_folders(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_picture(tmp_path / folder / "x.png")
    with open_source(str(tmp_path / "*" / "*.png")) as source:
        names = [Path(f.source).relative_to(tmp_path).as_posix() for f in source]
    assert names == ["a/x.png", "b/x.png"]


def test_a_file_whose_name_looks_like_a_glob_is_a_file(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "shot[1].png")
    assert len(list(open_source(str(path)))) == 1


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no pictures: nothing is in it"):
        open_source(str(tmp_path))
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(SourceError, match="1 other entries"):
        open_source(str(tmp_path))


def test_a_glob_without_matches_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="the pattern"):
        open_source(str(tmp_path / "*.png"))


def test_unreadable_pictures_of_a_folder_are_skipped_and_listed(tmp_path: Path) -> None:
    write_picture(tmp_path / "1.png")
    (tmp_path / "2.png").write_bytes(b"")
    (tmp_path / "3.jpg").write_bytes(jpeg()[:-200])
    write_picture(tmp_path / "4.png")
    warnings: list[str] = []
    with open_source(str(tmp_path), warn=warnings.append) as source:
        frames = list(source)
    assert [f.index for f in frames] == [0, 3]
    assert [Path(f.source).name for f in frames] == ["1.png", "4.png"]
    assert len(source.skipped) == 2
    assert "2.png: the file is empty" in source.skipped[0]
    assert "3.jpg" in source.skipped[1] and "truncated" in source.skipped[1]
    assert warnings == [f"skipped: {reason}" for reason in source.skipped]


@pytest.mark.parametrize("data", [b"", b"no picture at all", jpeg()[:-200]])
def test_a_bad_photo_is_told_at_once(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.jpg"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"bad\.jpg"):
        open_source(str(path))


def test_grey_rgba_and_16_bit_photos_become_bgr(tmp_path: Path) -> None:
    grey = np.full((8, 9), 100, np.uint8)
    cv2.imwrite(str(tmp_path / "1.png"), grey)
    cv2.imwrite(str(tmp_path / "2.png"), np.full((8, 9, 4), 100, np.uint8))
    cv2.imwrite(str(tmp_path / "3.png"), np.full((8, 9, 3), 100 * 257, np.uint16))
    for frame in open_source(str(tmp_path)):
        assert frame.image.dtype == np.uint8
        np.testing.assert_array_equal(frame.image, np.full((8, 9, 3), 100))
