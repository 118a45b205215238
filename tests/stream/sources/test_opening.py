from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from edgepose.errors import SourceError
from edgepose.stream.sources import open_source, opening
from edgepose.stream.sources.capture import quiet_opencv
from edgepose.stream.sources.live import LiveSource
from tests.stream.helpers import FakeCapture


def test_a_source_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file or folder"):
        open_source(str(tmp_path / "nothing.mp4"))


@pytest.mark.parametrize("text", ["77", "/dev/video77"])
def test_a_missing_camera_lists_those_that_are_there(
    text: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SourceError, match=r"no camera 77: .*/dev/video"):
        open_source(text)
    monkeypatch.setattr(Path, "glob", lambda self, pattern: [Path("/dev/video4")])
    with pytest.raises(SourceError, match="cameras on this machine: /dev/video4"):
        open_source(text)
    assert capfd.readouterr() == ("", "")


def test_a_camera_is_opened_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fake(number: int) -> FakeCapture:
        asked.append(number)
        return FakeCapture(2, period_s=0.01)

    monkeypatch.setattr(opening, "open_camera", fake)
    for text in ("0", "/dev/video3"):
        with open_source(text) as source:
            assert source.live
            next(iter(source))
    assert asked == [0, 3]
    assert source.name == "camera 3"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://admin:hunter2@host/x",
        "gopher://admin:hunter2@host",
        "gopher://admin:un/hunter2@host",
        "rtsp://admin:hunter2@[bad/live",
    ],
)
def test_urls_that_cannot_be(url: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["rtsp", "http", "https"])
def test_an_unreachable_stream_is_an_error_without_its_password(
    scheme: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for path in ("live", "film.mp4"):
        with pytest.raises(SourceError) as caught:
            open_source(f"{scheme}://admin:hunter2@127.0.0.1:1/{path}?token=s3cret")
        assert f"{scheme}://***@127.0.0.1:1/{path}?token=***" in str(caught.value)
    # FFmpeg and OpenCV would both name the URL, each in its own way.
    assert capfd.readouterr() == ("", "")


def test_a_stream_that_dies_in_the_middle(
    mjpeg_camera: Callable[..., str], capfd: pytest.CaptureFixture[str]
) -> None:
    url = mjpeg_camera(frames=15)
    indices = []
    with open_source(url) as source:
        assert source.live
        assert source.length is None
        with pytest.raises(SourceError, match="broke off") as caught:
            for frame in source:
                indices.append(frame.index)
                assert frame.image.shape == (120, 160, 3)
    assert len(indices) + source.dropped >= 14
    for text in (source.name, str(caught.value), *capfd.readouterr()):
        assert "hunter2" not in text
        assert "s3cret" not in text


def test_a_slow_consumer_of_a_real_stream_stays_fresh(mjpeg_camera: Callable[..., str]) -> None:
    ages: list[float] = []
    url = mjpeg_camera(frames=100, period_s=0.01)
    with open_source(url) as source, pytest.raises(SourceError):
        for frame in source:
            time.sleep(0.1)
            ages.append(source.age(frame) or 0)
    assert len(ages) < 40
    assert source.dropped > 40
    assert max(ages) < 0.75


def test_a_stream_is_closed_while_it_goes_on(mjpeg_camera: Callable[..., str]) -> None:
    with open_source(mjpeg_camera(frames=1000)) as source:
        assert isinstance(source, LiveSource)
        next(iter(source))
    assert not source._thread.is_alive()


def test_the_log_level_of_opencv_comes_back() -> None:
    log = getattr(cv2.utils, "logging", cv2)
    before = log.getLogLevel()
    with quiet_opencv(), quiet_opencv():
        assert log.getLogLevel() == 0
        assert os.environ["OPENCV_FFMPEG_LOGLEVEL"] == "-8"
    assert log.getLogLevel() == before
