from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgepose.errors import OutputError
from edgepose.stream.sinks.pictures import FolderSink, PictureSink
from tests.stream.helpers import result, write_picture


def names(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_one_picture(tmp_path: Path) -> None:
    one = result()
    with PictureSink(tmp_path / "deep" / "out.png") as sink:
        assert sink.write(one)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "deep/out.png")), one.drawing)
    assert names(tmp_path) == ["deep/out.png"]


def test_a_folder_keeps_the_names_and_subfolders(tmp_path: Path) -> None:
    originals = [tmp_path / "in/a/x.png", tmp_path / "in/b/x.jpg"]
    for path in originals:
        path.parent.mkdir(parents=True)
        write_picture(path)
    with FolderSink(tmp_path / "out", originals) as sink:
        for path in originals:
            sink.write(result(source=str(path)))
    assert names(tmp_path / "out") == ["a/x.png", "b/x.jpg"]


def test_frames_of_a_video_are_numbered(tmp_path: Path) -> None:
    with FolderSink(tmp_path / "out") as sink:
        for number in (0, 42):
            sink.write(result(number))
    assert names(tmp_path / "out") == ["frame-000000.jpg", "frame-000042.jpg"]


def test_originals_are_never_overwritten(tmp_path: Path) -> None:
    original = write_picture(tmp_path / "x.png")
    for folder in (tmp_path, tmp_path / "sub" / ".."):
        with pytest.raises(OutputError, match="the originals lie there"):
            FolderSink(folder, [original])


def test_no_drawing_takes_the_place_of_another_original(tmp_path: Path) -> None:
    originals = [tmp_path / "shots/a.png", tmp_path / "shots/sub/a.png"]
    (tmp_path / "shots/sub").mkdir(parents=True)
    for path in originals:
        write_picture(path)
    (tmp_path / "link").symlink_to(tmp_path / "shots/sub")
    for folder in ("shots/sub", "link"):
        with pytest.raises(OutputError, match=r"would be overwritten \(.*shots/sub/a\.png\)"):
            FolderSink(tmp_path / folder, originals)
    FolderSink(tmp_path / "shots/drawn", originals).close()


def test_two_originals_never_become_one_file(tmp_path: Path) -> None:
    originals = [tmp_path / "in/a/x.png", tmp_path / "in/b/x.png"]
    for path in originals:
        path.parent.mkdir(parents=True)
        write_picture(path)
    (tmp_path / "out/a").mkdir(parents=True)
    (tmp_path / "out/b").symlink_to(tmp_path / "out/a")
    with pytest.raises(OutputError, match=r"in/a/x\.png and .*in/b/x\.png would both become"):
        FolderSink(tmp_path / "out", originals)


def test_links_to_one_picture_keep_their_own_names(tmp_path: Path) -> None:
    stored = write_picture(tmp_path / "store.png")
    (tmp_path / "in").mkdir()
    originals = [tmp_path / "in/a.png", tmp_path / "in/b.png"]
    for path in originals:
        path.symlink_to(stored)
    with FolderSink(tmp_path / "out", originals) as sink:
        for path in originals:
            sink.write(result(source=str(path)))
    assert names(tmp_path / "out") == ["a.png", "b.png"]


def test_places_and_formats_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write in"):
        PictureSink(tmp_path / "file" / "out.png")
    for target in (tmp_path / "file", tmp_path / "file" / "out", Path("/proc/out")):
        with pytest.raises(OutputError, match="cannot write in"):
            FolderSink(target)
    with pytest.raises(OutputError, match="no picture format"):
        PictureSink(tmp_path / "out.gif")
