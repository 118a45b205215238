from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgepose.errors import OutputError
from edgepose.stream.sinks import video
from edgepose.stream.sinks.video import VideoSink
from tests.stream.helpers import read_video, result

Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv", ".mov"])
def test_every_frame_annotated_in_order(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / "deep" / f"out{suffix}"
    results = [result(n) for n in range(5)]
    with VideoSink(path, fps=10) as sink:
        for one in results:
            assert sink.write(one)
        assert not path.exists()
    frames = read_video(path)
    assert len(frames) == 5
    for frame, one in zip(frames, results, strict=True):
        assert abs(frame.astype(int) - one.drawing).mean() < 8
        assert abs(frame.astype(int) - one.frame.image).mean() > 3
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_the_rate_of_the_source_is_kept(tmp_path: Path) -> None:
    for fps, expected in ((12.5, 12.5), (None, 25.0)):
        with VideoSink(tmp_path / "out.mp4", fps=fps) as sink:
            sink.write(result())
        assert cv2.VideoCapture(str(tmp_path / "out.mp4")).get(cv2.CAP_PROP_FPS) == expected


def test_an_interrupted_video_is_playable_under_its_name(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    with pytest.raises(KeyboardInterrupt), VideoSink(path, fps=10) as sink:
        for number in range(7):
            sink.write(result(number))
        raise KeyboardInterrupt
    assert len(read_video(path)) == 7
    assert list(tmp_path.iterdir()) == [path]


def test_no_frame_no_file(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"old")
    sink = VideoSink(path, fps=10)
    sink.close()
    sink.close()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_live_frames_play_at_the_speed_of_life(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    with VideoSink(path, fps=10, live=True) as sink:
        for number, time_s in enumerate((5.0, 5.1, 5.6, 5.7)):
            sink.write(result(number * 5, time_s=time_s))
    frames = read_video(path)
    # 0.7 s at 10 fps; the second frame stands for 0.5 s.
    assert len(frames) == 8
    for standing in frames[2:6]:
        assert abs(standing.astype(int) - frames[1]).mean() < 1
    assert abs(frames[6].astype(int) - frames[5]).mean() > 1


def test_live_frames_faster_than_the_video_are_thinned_out(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    with VideoSink(path, fps=10, live=True) as sink:
        for number in range(50):
            sink.write(result(number, time_s=number / 50))
    assert len(read_video(path)) == pytest.approx(10, abs=1)


@pytest.mark.parametrize(("live", "expected"), [(True, 60), (False, 240)])
def test_the_rate_a_live_source_claims_is_not_believed(
    live: bool, expected: int, tmp_path: Path
) -> None:
    path = tmp_path / "out.avi"
    with VideoSink(path, fps=240, live=live) as sink:
        for number in range(3):
            sink.write(result(number, time_s=number / 2))
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS) == expected
    # One second of life, and the last frame.
    assert len(read_video(path)) == (61 if live else 3)


def test_a_long_pause_of_a_live_source_is_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    with VideoSink(path, fps=10, live=True) as sink:
        for number, time_s in enumerate((0.0, 3600.0, 3600.1, 3600.3)):
            sink.write(result(number, time_s=time_s))
    assert len(read_video(path)) == pytest.approx(100 + 4, abs=2)


def test_a_change_of_size_does_not_end_the_video(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    with VideoSink(path, fps=10) as sink:
        sink.write(result(0))
        sink.write(result(1, size=(240, 200)))
    assert [frame.shape for frame in read_video(path)] == [(120, 160, 3)] * 2


def test_a_disk_about_to_be_full_ends_it_in_good_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.mp4"
    free = [1 << 30]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 40, 0, free[0]))
    written = 0
    with (
        pytest.raises(OutputError, match=r"the disk is full \(1 MiB left\)"),
        VideoSink(path, fps=10) as sink,
    ):
        for number in range(30):
            if number == 10:
                free[0] = 1 << 20
            sink.write(result(number))
            written += 1
    assert 10 <= written < 20
    assert len(read_video(path)) == written


def test_a_full_disk_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 40, 0, 1000))
    with pytest.raises(OutputError, match="the disk is full"):
        VideoSink(tmp_path / "out.mp4", fps=10)
    assert list(tmp_path.iterdir()) == []


def test_places_and_formats_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for target in (tmp_path / "file" / "out.mp4", Path("/proc/out.mp4")):
        with pytest.raises(OutputError, match="cannot write"):
            VideoSink(target, fps=10)
    with pytest.raises(OutputError, match=r"'\.gif' is no video format"):
        VideoSink(tmp_path / "out.gif", fps=10)


def test_a_missing_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(video.VIDEO_CODECS, ".mp4", "????")
    with pytest.raises(OutputError, match="no encoder"), VideoSink(tmp_path / "o.mp4", 10) as sink:
        sink.write(result())
    assert list(tmp_path.iterdir()) == []


def test_pictures_of_odd_size(tmp_path: Path) -> None:
    with VideoSink(tmp_path / "out.mp4", fps=10) as sink:
        sink.write(result(0, size=(121, 161)))
    assert np.abs(np.subtract(read_video(tmp_path / "out.mp4")[0].shape, (121, 161, 3))).max() <= 1
