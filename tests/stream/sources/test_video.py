from __future__ import annotations

import contextlib
import functools
import http.server
import threading
from pathlib import Path

import numpy as np
import pytest

from edgepose.errors import SourceError
from edgepose.stream.sources import open_source, video
from edgepose.stream.sources.video import VideoSource
from tests.stream.helpers import FakeCapture, picture, write_raw_mjpeg, write_video


def fake_video(
    capture: FakeCapture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> VideoSource:
    path = tmp_path / "fake.mp4"
    path.write_bytes(b"not empty")
    monkeypatch.setattr(video, "open_stream", lambda *_: capture)
    return VideoSource(str(path), warnings.append)


def test_every_frame_comes_with_its_time(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", frames=6, fps=10)
    with open_source(str(path)) as source:
        frames = list(source)
    assert (source.length, source.fps, source.live) == (6, 10.0, False)
    assert [f.index for f in frames] == list(range(6))
    np.testing.assert_allclose([f.time_s for f in frames], np.arange(6) / 10, atol=1e-6)
    assert abs(frames[5].image.astype(int) - picture(5)).mean() < 3


def test_real_videos(shared: Path) -> None:
    for name, count, size in (("street", 5, (540, 960)), ("posetrack", 5, (720, 1280))):
        with open_source(str(shared / f"data/video/{name}.mp4")) as source:
            frames = list(source)
        assert len(frames) == source.length == count
        assert frames[0].image.shape == (*size, 3)
        np.testing.assert_allclose(np.diff([f.time_s for f in frames]), 1 / source.fps, rtol=0.01)


def test_a_video_without_a_frame_count(tmp_path: Path) -> None:
    path = write_raw_mjpeg(tmp_path / "bare.mjpeg", frames=7)
    warnings: list[str] = []
    with open_source(str(path), warn=warnings.append) as source:
        assert source.length is None
        frames = list(source)
    assert len(frames) == 7
    assert np.diff([f.time_s for f in frames]).min() > 0
    assert warnings == []


@pytest.mark.parametrize("claimed", [None, 2, 1000])
def test_a_wrong_frame_count_breaks_nothing(
    claimed: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    source = fake_video(FakeCapture(4, length=claimed), tmp_path, monkeypatch, warnings)
    assert len(list(source)) == 4
    assert len(warnings) == (claimed == 1000)
    if warnings:
        assert "promises 1000 frames, 4 could be read" in warnings[0]


@pytest.mark.parametrize("positions", [[0.0] * 5, [0, 0.04, float("nan"), 0.02, -1.0]])
def test_time_goes_on_where_the_file_has_none(
    positions: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = fake_video(FakeCapture(5, positions=positions), tmp_path, monkeypatch, [])
    np.testing.assert_allclose([f.time_s for f in source], np.arange(5) / 25)


def test_a_video_on_a_web_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    write_video(tmp_path / "v.avi", frames=6, codec="MJPG")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        with open_source(f"http://me:hunter2@127.0.0.1:{server.server_port}/v.avi") as source:
            frames = list(source)
        server.shutdown()
        thread.join()
    assert not source.live
    assert [f.index for f in frames] == list(range(6))
    assert "hunter2" not in source.name


def test_a_video_that_a_web_server_cuts_short_broke_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    data = write_video(tmp_path / "v.avi", frames=40, codec="MJPG").read_bytes()

    class HangsUp(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(data[: len(data) // 2])

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), HangsUp) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            with (
                open_source(f"http://me:hunter2@127.0.0.1:{server.server_port}/v.avi") as source,
                pytest.raises(SourceError, match=r"broke off: it promises 40 frames") as caught,
            ):
                list(source)
        finally:
            server.shutdown()
            thread.join()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("promised", "positions", "whole"),
    [
        (100, None, False),  # 80 % came
        (84, None, True),  # 95 %: the count is an estimate
        (82, None, True),
        (800, [n / 2.5 for n in range(80)], True),  # a tenth of the rate: all of the duration
        (1000, [n / 25 for n in range(80)], False),
    ],
)
def test_how_short_a_video_from_the_web_may_fall(
    promised: int,
    positions: list[float] | None,
    whole: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    capture = FakeCapture(80, length=promised, positions=positions)
    monkeypatch.setattr(video, "open_stream", lambda *_: capture)
    warnings: list[str] = []
    source = VideoSource("https://host/v.mp4", warnings.append)
    indices = []
    ended = contextlib.nullcontext() if whole else pytest.raises(SourceError, match="broke off")
    with source, ended:
        for frame in source:
            indices.append(frame.index)
    assert indices == list(range(80))
    assert len(warnings) == whole


def test_the_capture_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    capture = FakeCapture(4)
    with fake_video(capture, tmp_path, monkeypatch, []):
        pass
    assert capture.closed


def test_a_video_that_gives_no_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    capture = FakeCapture(0, length=250)
    with pytest.raises(SourceError, match="no frame can be read"):
        fake_video(capture, tmp_path, monkeypatch, [])
    assert capture.closed


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"")
    with pytest.raises(SourceError, match="the file is empty"):
        open_source(str(tmp_path / "v.mp4"))


def test_a_file_that_is_no_video(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "v.mp4").write_bytes(b"text" * 1000)
    with pytest.raises(SourceError, match=r"cannot read .* as a video"):
        open_source(str(tmp_path / "v.mp4"))
    assert capfd.readouterr() == ("", "")


def test_a_video_cut_off_before_its_index(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "v.mp4").read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=r"cut\.mp4"):
        open_source(str(cut))
