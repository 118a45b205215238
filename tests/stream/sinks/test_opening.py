from __future__ import annotations

from pathlib import Path

import pytest

from edgepose.errors import OutputError
from edgepose.stream.sinks import open_save
from edgepose.stream.sinks.pictures import FolderSink, PictureSink
from edgepose.stream.sinks.video import VideoSink
from edgepose.stream.sources import Source, open_source
from tests.stream.helpers import ListSource, write_picture, write_video


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Source]:
    (tmp_path / "in").mkdir()
    for number in range(2):
        write_picture(tmp_path / "in" / f"{number}.png")
    return {
        "photo": open_source(str(tmp_path / "in/0.png")),
        "folder": open_source(str(tmp_path / "in")),
        "video": open_source(str(write_video(tmp_path / "v.mp4"))),
        "live": ListSource(3, live=True),
    }


@pytest.mark.parametrize(
    ("source", "target", "kind"),
    [
        ("photo", "out.jpg", PictureSink),
        ("photo", "out", FolderSink),
        ("folder", "out", FolderSink),
        ("video", "out.mp4", VideoSink),
        ("video", "out", FolderSink),
        ("live", "out.avi", VideoSink),
    ],
)
def test_what_goes_together(
    source: str, target: str, kind: type, sources: dict[str, Source], tmp_path: Path
) -> None:
    with open_save(tmp_path / "new" / target, sources[source]) as sink:
        assert type(sink) is kind


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("photo", "out.mp4", "the source is pictures"),
        ("folder", "out.mp4", "the source is pictures"),
        ("folder", "out.jpg", "more than one frame"),
        ("video", "out.jpg", "such as out.mp4"),
        ("video", "out.gif", "'.gif' is no format"),
        ("photo", "in/0.png", "the source itself"),
        ("photo", "in", "the originals lie there"),
        ("folder", "in", "the source itself|the originals lie there"),
        ("video", "v.mp4", "the source itself"),
    ],
)
def test_what_does_not(
    source: str, target: str, words: str, sources: dict[str, Source], tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match=words):
        open_save(tmp_path / target, sources[source])


def test_an_existing_folder_may_have_any_name(sources: dict[str, Source], tmp_path: Path) -> None:
    (tmp_path / "run.1").mkdir()
    assert isinstance(open_save(tmp_path / "run.1", sources["video"]), FolderSink)
